"""Losses of scores: the softmax over a range of tails, and positives against sampled negatives."""

from typing import Any

import torch
import torch.nn.functional as F

from kgspark.kge.settings import TrainSettings


def listwise_loss(
    scores: torch.Tensor, positions: torch.Tensor, weights: torch.Tensor, temperature: float, log_counts: torch.Tensor
) -> torch.Tensor:
    """−Σ w · log softmax(scores / temperature + log_counts) at the positives, a scalar with a hand-written gradient.

    scores      float32 (B, N)
    positions   int64 (n,): row · N + column of each positive, distinct
    weights     float32 (n,)
    log_counts  float32 (N,) or (1,): log of how many tails a column stands for, 0 for itself alone
    """
    return _ListwiseLoss.apply(scores, positions, weights, temperature, log_counts)


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


def _warp(hinges: torch.Tensor) -> torch.Tensor:
    """Weighted approximate-rank pairwise loss of hinges γ − s + n (B, K), in the order in which they were drawn.

    The first violator after N draws says that about K / N of K negatives would violate, so the positive's rank among
    them is about ⌊K / N⌋, and L(r) = 1 + ½ + … + 1/r makes errors at the head of the list weigh most. It is scaled by
    1 / L(K), so that a step is of one size for any number of negatives.
    """
    violating = hinges > 0
    first = violating.to(torch.uint8).argmax(1)  # (B,)
    harmonic = torch.arange(1, hinges.shape[1] + 1, device=hinges.device).reciprocal().cumsum(0)
    rank = torch.div(hinges.shape[1], first + 1, rounding_mode="floor")
    weights = harmonic[rank - 1] / harmonic[-1]
    return F.relu(hinges.gather(1, first[:, None]).squeeze(1)) * weights


class _ListwiseLoss(torch.autograd.Function):
    """Softmax and its gradient in one buffer; autograd's log_softmax would need three and a dense target."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: torch.Tensor,
        positions: torch.Tensor,
        weights: torch.Tensor,
        temperature: float,
        log_counts: torch.Tensor,
    ) -> torch.Tensor:
        logits = torch.add(log_counts, scores, alpha=1 / temperature)  # (B, N)
        positives = logits.view(-1)[positions]
        mass = torch.zeros(len(logits), dtype=logits.dtype, device=logits.device)  # the weights' sum, row by row
        mass.index_add_(0, torch.div(positions, logits.shape[1], rounding_mode="floor"), weights)
        peak = logits.amax(1, keepdim=True)
        shares = logits.sub_(peak).exp_()
        total = shares.sum(1, keepdim=True)
        loss = (mass * (peak + total.log()).squeeze(1)).sum() - (weights * positives).sum()
        gradient = shares.mul_(mass[:, None] / total)
        flat = gradient.view(-1)
        flat[positions] = flat[positions] - weights
        ctx.save_for_backward(gradient)
        ctx.temperature = temperature
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(gradients[0] / ctx.temperature), None, None, None, None
