"""Score matrices of queries against items, by metric, differentiable and bounded by the matrix itself in memory."""

from typing import Any

import torch

from kgspark.search_space import Metric

# As in tgraphx: keeps the modulus of a zero difference differentiable.
_MODULUS_EPSILON = 1e-12


def score_matrix(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores (Q, N) of queries (Q, d) against items (N, d) as kgspark.search_space defines them, without its offset."""
    if metric == "inner_product":
        return queries @ items.T
    if metric == "l2":
        return -torch.cdist(queries, items, p=2.0, compute_mode="donot_use_mm_for_euclid_dist")
    if metric == "l1":
        return -torch.cdist(queries, items, p=1.0)
    return _ModulusScores.apply(queries, items)


def training_scores(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores that order tails as `score_matrix` does, the cheapest to train with.

    TransE's items are unit vectors, so −‖q − t‖₂ falls with q · t: ‖q − t‖² = ‖q‖² + 1 − 2 q · t.
    """
    return queries @ items.T if metric == "l2" else score_matrix(queries, items, metric)


def ranking_scores(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores (Q, N) that order each query's items as `score_matrix` does; for l2 without assuming unit items."""
    if metric == "l2":
        return torch.addmm((items * items).sum(1), queries, items.T, beta=-0.5)
    return score_matrix(queries, items, metric)


class _ModulusScores(torch.autograd.Function):
    """−Σᵢ |qᵢ − tᵢ| over complex coordinates (RotatE), one coordinate at a time in both directions.

    Plain autograd would keep every coordinate's (Q, N) differences: dim times the memory of the scores.
    """

    @staticmethod
    def forward(ctx: Any, queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(queries, items)
        scores = torch.zeros(len(queries), len(items), dtype=queries.dtype, device=queries.device)
        for _, _, _, modulus in _coordinates(queries, items):
            scores -= modulus
        return scores

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        queries, items = ctx.saved_tensors
        half = queries.shape[1] // 2
        for_queries, for_items = torch.empty_like(queries), torch.empty_like(items)
        for i, real, imaginary, modulus in _coordinates(queries, items):
            share = gradients[0] / modulus  # (Q, N)
            for at, difference in ((i, real), (i + half, imaginary)):
                pull = difference.mul_(share)
                for_queries[:, at] = -pull.sum(1)
                for_items[:, at] = pull.sum(0)
        return for_queries, for_items


def _coordinates(queries: torch.Tensor, items: torch.Tensor) -> Any:
    half = queries.shape[1] // 2
    for i in range(half):
        real = queries[:, i, None] - items[None, :, i]  # (Q, N)
        imaginary = queries[:, i + half, None] - items[None, :, i + half]
        modulus = (real * real).addcmul_(imaginary, imaginary).add_(_MODULUS_EPSILON).sqrt_()
        yield i, real, imaginary, modulus


def pair_scores(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores (...) of queries (..., d) against items (..., d), pair by pair, as tgraphx's `score_triples` has them.

    Without its offset, as `score_matrix`.
    """
    if metric == "inner_product":
        return (queries * items).sum(-1)
    difference = queries - items
    if metric in ("l1", "l2"):
        return -difference.norm(p=1 if metric == "l1" else 2, dim=-1)
    real, imaginary = difference.chunk(2, dim=-1)
    return -torch.sqrt(real**2 + imaginary**2 + _MODULUS_EPSILON).sum(-1)
