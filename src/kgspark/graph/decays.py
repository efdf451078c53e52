"""Weights of likes that fall with the place in the history, the latest like first."""

import numpy as np

from kgspark.graph.histories import Histories

# Keeps the decayed sum of a short history shorter than that of a long one.
SHORTEST = 0.3
# Likes whose weight, relative to the latest one, is smaller are left out of a decayed sum.
_LEAST_WEIGHT = 1e-5


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


def decay_weighted(latest_first: Histories, half_life: float) -> Histories:
    """The likes that count in a decayed sum, with their weights; the half-life is in likes.

    latest_first  each user's likes, the latest one first

    The weight of the like at place j of n is 2^(−j/h) / (√(Σ_i 4^(−i/h)) + 0.3), with i from 0 to n − 1, so the weights
    of a history have a length of about 1.
    """
    owners = latest_first.rows()
    places = np.arange(len(owners)) - latest_first.indptr[owners]
    ratio = 4.0 ** (-1 / half_life)
    squared = (1 - ratio ** latest_first.sizes[owners].astype(np.float64)) / (1 - ratio)
    weights = (2.0 ** (-places / half_life) / (np.sqrt(squared) + SHORTEST)).astype(np.float32)
    most = int(np.ceil(-half_life * np.log2(_LEAST_WEIGHT)))
    return Histories(latest_first.indptr, latest_first.indices, weights).where(places < most)
