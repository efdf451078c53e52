"""Score matrices of queries against items, by metric; computing one takes no more memory than the matrix itself."""

import math

import torch

from kgspark.search_space import Metric

# As in tgraphx: keeps the modulus of a zero difference differentiable.
_MODULUS_EPSILON = 1e-12
# Terms of the series that replaces a modulus in training. The error of three is at most 0.19, and mostly below 0.03.
_HARMONICS = 3
# Number of scores whose moduli are summed together: they fit a cache, and give several threads enough work.
_BLOCK_SCORES = 1 << 18


def score_matrix(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores (Q, N) of queries (Q, d) against items (N, d) as kgspark.search_space defines them, without its offset."""
    if metric == "inner_product":
        return queries @ items.T
    if metric == "l2":
        return -torch.cdist(queries, items, p=2.0, compute_mode="donot_use_mm_for_euclid_dist")
    if metric == "l1":
        return -torch.cdist(queries, items, p=1.0)
    return _modulus_scores(queries, items)


def training_scores(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores to train with: cheaper than `score_matrix`, and in the same order (for modulus nearly the same).

    Items of the metric l2 are unit vectors, so −‖q − t‖₂ rises with q · t: ‖q − t‖² = ‖q‖² + 1 − 2 q · t. Moduli are
    matrix products too, up to the last terms of a series: see `_harmonics`.
    """
    if metric == "modulus":
        return _harmonics(queries) @ _harmonics(items).T
    return queries @ items.T if metric == "l2" else score_matrix(queries, items, metric)


def ranking_scores(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores (Q, N) that order each query's items as `score_matrix` does; for l2 without assuming unit items."""
    if metric == "l2":
        return torch.addmm((items * items).sum(1), queries, items.T, beta=-0.5)
    return score_matrix(queries, items, metric)


def _harmonics(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (n, d) of coordinates with modulus one as (n, 3 d), whose products are −Σᵢ |qᵢ − tᵢ| up to a constant.

    With the angle a between q and t, |q − t| = 2 |sin(a / 2)|, the Fourier series of which is

        4/π − 8/π Σ_k cos(k a) / (4 k² − 1),

    and cos(k a) is the product of the k-th powers qᵏ and tᵏ. The first term alone is the squared modulus, which gives
    another order: training with it alone finds fewer likes.
    """
    real, imaginary = turned = vectors.chunk(2, dim=1)
    parts = []
    for k in range(1, _HARMONICS + 1):
        weight = math.sqrt(8 / math.pi / (4 * k * k - 1))
        parts += [weight * part for part in turned]
        turned = (
            turned[0] * real - turned[1] * imaginary,
            turned[0] * imaginary + turned[1] * real,
        )
    return torch.cat(parts, dim=1)


def _modulus_scores(queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """−Σᵢ |qᵢ − tᵢ| over complex coordinates (RotatE), one coordinate of a block of queries at a time.

    Blocks fit a core's cache; all coordinates at once would take dim times the memory of the scores.
    """
    half = queries.shape[1] // 2
    scores = queries.new_zeros(len(queries), len(items))
    columns = items.T.contiguous()  # (d, N)
    rows = max(1, _BLOCK_SCORES // max(len(items), 1))
    for block, part in zip(scores.split(rows), queries.split(rows), strict=True):
        real, imaginary = torch.empty_like(block), torch.empty_like(block)
        for i in range(half):
            torch.sub(part[:, i, None], columns[i], out=real)
            torch.sub(part[:, i + half, None], columns[i + half], out=imaginary)
            block.sub_(real.mul_(real).addcmul_(imaginary, imaginary).add_(_MODULUS_EPSILON).sqrt_())
    return scores


def pair_scores(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Scores (...) of queries (..., d) against items (..., d), pair by pair, equal to tgraphx's `score_triples`.

    The offset is left out, as in `score_matrix`.
    """
    if metric == "inner_product":
        return (queries * items).sum(-1)
    difference = queries - items
    if metric in ("l1", "l2"):
        return -difference.norm(p=1 if metric == "l1" else 2, dim=-1)
    real, imaginary = difference.chunk(2, dim=-1)
    return -torch.sqrt(real**2 + imaginary**2 + _MODULUS_EPSILON).sum(-1)
