"""Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) over a pool of the best movies of each user.

Each step takes the movie of the pool with the largest λ · r - (1 - λ) · c: r is its final score, scaled to 0 for the
pool's worst and 1 for its best movie, and c the largest cosine to a movie that the list has already (0 for the first).
"""

import numpy as np

from kgspark.retrieval.index import row_norms
from kgspark.retrieval.rules.caps import Caps
from kgspark.retrieval.topk import Ranking

# Floats of the vectors and cosines of the pools that are in memory at once.
_FLOATS = 8_000_000


def diverse(
    pool: Ranking, alike: np.ndarray, relevance: float, k: int, caps: Caps | None, counts: np.ndarray | None
) -> np.ndarray:
    """The places in the pool of each list's movies in their order, int64 (B, k), padded with -1.

    pool    (B, P): by falling final score; equal values are taken in this order
    alike   float32 (M, d): vectors of the movies, of which the cosines are
    counts  of `caps`, int32 (B, G + 1), of the lists so far; changed in place. None without caps
    """
    picks = np.full((len(pool.ids), k), -1, np.int64)
    width = pool.ids.shape[1]
    step = max(1, _FLOATS // max(1, width * (alike.shape[1] + width)))
    for start in range(0, len(picks), step):
        rows = slice(start, start + step)
        part = Ranking(pool.ids[rows], pool.scores[rows], pool.counts[rows])
        near = _cosines(alike, part.ids)
        _pick(part, near, relevance, picks[rows], caps, None if counts is None else counts[rows])
    return picks


def _cosines(alike: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Cosines float32 (B, P, P) of the movies of each pool; of padding, any number. Each pool is multiplied alone."""
    vectors = alike[np.maximum(ids, 0)]
    norms = row_norms(vectors.reshape(-1, vectors.shape[2])).reshape(ids.shape)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
    near: np.ndarray = vectors @ vectors.transpose(0, 2, 1)
    near *= scale[:, :, None]
    near *= scale[:, None, :]
    return near


def _pick(
    pool: Ranking,
    near: np.ndarray,
    relevance: float,
    picks: np.ndarray,
    caps: Caps | None,
    counts: np.ndarray | None,
) -> None:
    lists = np.arange(len(pool.ids))
    wanted = np.float32(relevance) * _relevances(pool)
    unwanted = np.float32(1 - relevance)
    value = np.where(pool.ids < 0, np.float32(-np.inf), wanted)
    nearest = np.full(wanted.shape, -np.inf, np.float32)
    free = pool.ids >= 0
    if caps is not None and counts is not None:
        free &= caps.fits(counts, pool.ids)
    for place in range(picks.shape[1]):
        best = np.where(free, value, -np.inf).argmax(axis=1)
        rows = np.flatnonzero(free[lists, best])
        if not len(rows):
            return
        best = best[rows]
        picks[rows, place] = best
        free[rows, best] = False
        if caps is not None and counts is not None:
            full = rows[caps.add_each(counts, rows, pool.ids[rows, best])]
            free[full] &= caps.fits(counts[full], pool.ids[full])
        nearest[rows] = np.maximum(nearest[rows], near[rows, best])
        value[rows] = wanted[rows] - unwanted * nearest[rows]


def _relevances(pool: Ranking) -> np.ndarray:
    """The scores float32 (B, P), scaled to [0, 1]; all 0 if they are equal."""
    inside = pool.ids >= 0
    low = np.where(inside, pool.scores, np.inf).min(axis=1, initial=np.inf)
    high = np.where(inside, pool.scores, -np.inf).max(axis=1, initial=-np.inf)
    span = np.where(high > low, high - low, 1).astype(np.float32)
    scores = np.where(inside, pool.scores, low[:, None])
    scaled: np.ndarray = (scores - np.where(np.isfinite(low), low, 0)[:, None].astype(np.float32)) / span[:, None]
    return np.where(inside, scaled, 0).astype(np.float32)
