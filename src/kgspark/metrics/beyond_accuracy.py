"""Properties of lists other than accuracy: coverage, novelty and concentration.

n[m] is the number of lists that contain movie m, and p[m] the fraction of users who liked m in training.

coverage@K  fraction of the catalogue that is in at least one list
novelty@K   mean of −log₂ p[m] over all recommended rows, in bits (Zhou et al. 2010); a movie without likes
            counts as a movie with one
gini@K      Gini coefficient of n over the catalogue: 0 if every movie is recommended equally often, near 1 if a few
            movies have all positions (Fleder and Hosanagar 2009)
"""

from collections.abc import Sequence

import numpy as np


def beyond_accuracy(lists: np.ndarray, likes: np.ndarray, users: int, ks: Sequence[int] = (10,)) -> dict[str, float]:
    """Coverage, novelty and Gini coefficient of the lists.

    lists  int (U, K): movie positions in [0, len(likes)); -1 at the end of a shorter list
    likes  int (M,): number of the `users` who liked each movie in training
    Returns `{"coverage@10": ..., "novelty@10": ..., "gini@10": ...}` for every K; novelty is 0 if there is no row.
    """
    rarity = -np.log2(np.maximum(likes, 1) / max(users, 1))
    figures = {}
    for k in ks:
        rows = lists[:, :k].ravel()
        rows = rows[rows >= 0]
        shown = np.bincount(rows, minlength=len(likes))
        figures[f"coverage@{k}"] = float((shown > 0).mean()) if len(likes) else 0.0
        figures[f"novelty@{k}"] = float(rarity[rows].mean()) if len(rows) else 0.0
        figures[f"gini@{k}"] = gini(shown)
    return figures


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of non-negative counts (n,): Σᵢ (2i − n − 1) xᵢ / (n Σ x) over sorted x; 0 if all are 0."""
    ordered = np.sort(counts).astype(np.float64)
    total, n = ordered.sum(), len(ordered)
    if not total:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total))
