"""Filtered ranks of held-out links, as link prediction defines them (Bordes et al. 2013, section 4.2).

The rank of a true tail is taken among all tails of its kind, without the other known tails of its head. Tails with an
equal score count one half (the average-tie policy, Berrendorf et al. 2020):

    rank = 1 + |higher| + ½ |equal|        MRR = mean(1 / rank)        Hits@K = mean(rank ≤ K)
"""

from collections.abc import Sequence

import numpy as np

from kgspark.graph.histories import Histories

# Scores compared at once: 16 MiB of float32.
_CELLS = 1 << 22


def filtered_ranks(scores: np.ndarray, known: Histories, wanted: Histories) -> np.ndarray:
    """Ranks float64 (n,) of the wanted tails, in the given order.

    scores  float32 (B, N): every tail's score for each of B heads
    known   all true tails of each head, including the wanted ones
    wanted  the tails to rank
    """
    candidates = scores.copy()
    candidates[known.rows(), known.indices] = -np.inf
    rows, tails = wanted.rows(), wanted.indices
    ranks = np.empty(len(tails))
    step = max(1, _CELLS // max(scores.shape[1], 1))
    for start in range(0, len(tails), step):
        part = slice(start, start + step)
        others, own = candidates[rows[part]], scores[rows[part], tails[part]][:, None]
        ranks[part] = 1 + (others > own).sum(axis=1) + 0.5 * (others == own).sum(axis=1)
    return ranks


def link_metrics(ranks: np.ndarray, ks: Sequence[int] = (1, 3, 10)) -> dict[str, float]:
    """Mean reciprocal rank and Hits@K over links; empty if there are none."""
    if not len(ranks):
        return {}
    figures = {"filtered_mrr": float((1 / ranks).mean())}
    return figures | {f"filtered_hits@{k}": float((ranks <= k).mean()) for k in ks}
