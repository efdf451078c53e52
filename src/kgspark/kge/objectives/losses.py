"""Losses of scores, over a range of tails or against sampled negatives, and the penalty on large coordinates."""

from typing import Any

import torch
import torch.nn.functional as F

from kgspark.kge.model.two_tower import RowsByTable, TwoTower
from kgspark.kge.settings import TrainSettings

# The logits over which the weight of a positive rises from the tail of a list to its head.
_TOP_SCALE = 3.0


def listwise_loss(
    scores: torch.Tensor,
    positions: torch.Tensor,
    degrees: torch.Tensor,
    weights: torch.Tensor,
    temperature: float,
    log_counts: torch.Tensor | None = None,
    spared: float = 0.0,
    top: int = 0,
) -> torch.Tensor:
    """Softmax loss of positives in their rows, a scalar with a hand-written gradient.

    For a positive p among a row's tails j, with logits z = scores / temperature + log_counts:

        −w · log( exp z_p / (exp z_p + Σ_{j≠p} c_j exp z_j) ),  c_j = 1 − spared for the row's other positives, else 1

    With `top` K, w is multiplied by 2 · σ((z_p − z_K) / 3), where z_K is the K-th largest logit of the row and has no
    gradient: a positive counts the more, the nearer it is to the head of the list. (SL@K of Yang et al. 2025, “Breaking
    the top-K barrier”, with the K-th largest score of the batch's rows as the quantile.)

    With `spared` 0 it is the multinomial likelihood (Liang et al. 2018, equation 2). With 1 the other positives are
    left out of the denominator, as in the decoupled contrastive loss (Yeh et al. 2022).

    scores      float32 (B, N); overwritten, so that a step needs one such matrix only
    positions   int64 (n,): row · N + column of each positive, distinct, one row after the other
    degrees     int64 (B,): number of positives per row
    weights     float32 (n,)
    log_counts  float32 (N,): log of the number of tails that a column represents; None if each represents itself
    """
    return _ListwiseLoss.apply(scores, positions, degrees, weights, temperature, log_counts, spared, top)


def negatives_loss(settings: TrainSettings, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Loss of every positive (B,), from its score (B,) and those of its K negatives (B, K).

    | objective | loss of a positive s and negatives n₁ … n_K             | source                |
    | --------- | ------------------------------------------------------- | --------------------- |
    | softplus  | softplus(−s) + mean softplus(n)                         | Trouillon et al. 2016 |
    | margin    | mean max(0, γ − s + n)                                  | Bordes et al. 2013    |
    | bpr       | mean −log σ((s − n) / τ)                                | Rendle et al. 2009    |
    | warp      | L(rank) · max(0, γ − s + v), v the first violator       | Weston et al. 2011    |
    """
    gaps = negatives - positives[:, None]  # (B, K)
    match settings.objective:
        case "softplus":
            return F.softplus(-positives) + F.softplus(negatives).mean(1)
        case "margin":
            return F.relu(settings.margin + gaps).mean(1)
        case "bpr":
            return F.softplus(gaps / settings.temperature).mean(1)
    return _warp(gaps + settings.margin)


def has_penalty(settings: TrainSettings) -> bool:
    """True if large coordinates are penalised; computing a penalty of 0 would take time."""
    return bool(settings.l2 or settings.n3)


def penalty(settings: TrainSettings, tower: TwoTower, *read: tuple[RowsByTable, torch.Tensor]) -> torch.Tensor:
    """Σ counts · (l2 · Σ |x|² + n3 / 3 · Σ |x|³) over all rows in `read` and their coordinates, a scalar.

    A complex coordinate counts by its modulus, as in equation 6 of Lacroix et al. 2018.

    read  pairs: rows (n, dim) by table, and (n,) the number of positives of the batch that contain each row
    """
    costs = []
    for rows, counts in read:
        sizes = tower.moduli(rows)  # (n, width)
        cost = settings.l2 * sizes.square().sum(1) + settings.n3 / 3 * sizes.pow(3).sum(1)
        costs.append((counts * cost).sum())
    return torch.stack(costs).sum()


def _warp(hinges: torch.Tensor) -> torch.Tensor:
    """Weighted approximate-rank pairwise loss of hinges γ − s + n (B, K), in the order in which they were drawn.

    If the first violator is draw N, about K / N of K negatives violate, so the positive's rank among them is about
    ⌊K / N⌋. L(r) = 1 + ½ + … + 1/r gives the largest weight to errors at the top of the list. The loss is scaled by
    1 / L(K), so that the number of negatives does not change the size of a step.
    """
    violating = hinges > 0
    first = violating.to(torch.uint8).argmax(1)  # (B,)
    harmonic = torch.arange(1, hinges.shape[1] + 1, device=hinges.device).reciprocal().cumsum(0)
    rank = torch.div(hinges.shape[1], first + 1, rounding_mode="floor")
    weights = harmonic[rank - 1] / harmonic[-1]
    return F.relu(hinges.gather(1, first[:, None]).squeeze(1)) * weights


class _ListwiseLoss(torch.autograd.Function):
    """Softmax and its gradient in the buffer of the scores; autograd's log_softmax needs four, and a dense target."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: torch.Tensor,
        positions: torch.Tensor,
        degrees: torch.Tensor,
        weights: torch.Tensor,
        temperature: float,
        log_counts: torch.Tensor | None,
        spared: float,
        top: int,
    ) -> torch.Tensor:
        logits = scores if log_counts is None else scores.add_(log_counts, alpha=temperature)
        rows = torch.div(positions, logits.shape[1], rounding_mode="floor")
        peak = logits.amax(1)
        exponentials = logits.sub_(peak[:, None]).mul_(1 / temperature)
        flat = exponentials.view(-1)
        positives = flat[positions]  # log of the numerators
        if top:
            last = exponentials.topk(min(top, exponentials.shape[1]), dim=1).values[:, -1]
            weights = weights * 2 * torch.sigmoid((positives - last[rows]) / _TOP_SCALE)
        exponentials.exp_()
        own = flat[positions]
        total = exponentials.sum(1)
        denominators = total[rows]  # (n,)
        if spared:
            total = total.sub(_sums(own, degrees), alpha=spared)
            denominators = total[rows] + spared * own
        loss = (weights * (denominators.log() - positives)).sum()
        pulls = weights / denominators
        exponentials.mul_(_sums(pulls, degrees)[:, None])
        flat[positions] = (1 - spared) * flat[positions] + spared * own * pulls - weights
        ctx.save_for_backward(exponentials)
        ctx.temperature = temperature
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(gradients[0] / ctx.temperature), None, None, None, None, None, None, None


def _sums(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Sums (B,) of consecutive runs of `values` (n,), of `lengths` (B,); unlike `index_add` it adds in a fixed order.

    `unsafe` only skips a check of the lengths, which would make the host wait for a GPU.
    """
    return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)
