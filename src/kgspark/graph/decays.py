"""Weights of likes that fall with the place in the history, the latest like first."""

import numpy as np

from kgspark.graph.histories import Histories


def recent_weights(likes: Histories, half_life: float) -> np.ndarray:
    """w float32 (n,) of the likes, which sum to 1 per user; likes of the same second share their weights equally."""
    if likes.times is None:
        raise ValueError("likes without times have no order")
    users = likes.rows()
    order = np.lexsort((-likes.times, users))
    weights = 0.5 ** ((np.arange(len(order)) - likes.indptr[users]) / half_life)
    times = likes.times[order]
    first = np.ones(len(order), bool)
    first[1:] = (users[1:] != users[:-1]) | (times[1:] != times[:-1])
    starts = np.flatnonzero(first)
    together = np.diff([*starts, len(order)])
    shared = np.repeat(np.add.reduceat(weights, starts) / together, together) if len(order) else weights
    shared /= np.maximum(np.bincount(users, shared, minlength=len(likes)), 1e-300)[users]
    result = np.empty(len(order), np.float32)
    result[order] = shared
    return result
