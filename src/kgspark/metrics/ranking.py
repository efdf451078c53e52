"""Ranking metrics of top-K lists against held-out likes, vectorised over users, in NumPy.

Relevance is binary. `hits[u, i]` is 1 if the i-th recommended movie (from 1) of user u was held out, and `counts[u]` is
the number of movies held out for u. `METRICS` lists all metrics: a new one is a function and a line there, and then
every evaluation measures it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def hit_matrix(ranked: np.ndarray, indptr: np.ndarray, held_out: np.ndarray, catalogue: int) -> np.ndarray:
    """Mask of the ranked movies that were held out.

    ranked    int (U, K): movie positions in [0, catalogue); -1 at the end of a shorter list
    indptr    int (U + 1,) and held_out int (n,): CSR of the held-out movies of the same users
    Returns bool (U, K).
    """
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    relevant = np.sort(users * np.int64(catalogue) + held_out)
    wanted = np.arange(len(ranked))[:, None] * np.int64(catalogue) + ranked
    if len(relevant) == 0:
        return np.zeros(ranked.shape, dtype=bool)
    at = np.minimum(np.searchsorted(relevant, wanted), len(relevant) - 1)
    return (relevant[at] == wanted) & (ranked >= 0)


def ranking_metrics(hits: np.ndarray, held_out_counts: np.ndarray, ks: Sequence[int] = (10,)) -> dict[str, np.ndarray]:
    """All of `METRICS`, for every user with held-out movies.

    hits             bool (U, K) with K ≥ max(ks), from `hit_matrix`
    held_out_counts  int (U,)
    Returns `{"ndcg@10": float64 (users with held_out_counts > 0,), ...}`; the mean over users is the usual figure.
    """
    counted = held_out_counts > 0
    hits = hits[counted].astype(np.float64)
    counts = held_out_counts[counted]
    if hits.shape[1] < max(ks):
        hits = np.pad(hits, ((0, 0), (0, max(ks) - hits.shape[1])))
    return {f"{name}@{k}": metric.of(hits[:, :k], counts) for k in ks for name, metric in METRICS.items()}


def means(by_user: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`ranking_metrics` averaged over users; empty if no user has a held-out movie."""
    return {name: float(values.mean()) for name, values in by_user.items() if len(values)}


def ndcg(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Σᵢ hit / log₂(i+1), divided by Σ_{i ≤ min(n, K)} 1 / log₂(i+1) (Järvelin and Kekäläinen 2002)."""
    discount = 1.0 / np.log2(_ranks(hits) + 1)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(counts, hits.shape[1])]
    return (hits * discount).sum(axis=1) / ideal


def recall(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Hits / n."""
    return hits.sum(axis=1) / counts


def precision(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Hits / K."""
    return hits.sum(axis=1) / hits.shape[1]


def reciprocal_rank(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """1 / rank of the first hit; 0 without a hit."""
    return 1.0 / np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)


def average_precision(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Σᵢ hit · precision@i / min(n, K)."""
    precision_at = np.cumsum(hits, axis=1) / _ranks(hits)
    return (hits * precision_at).sum(axis=1) / np.minimum(counts, hits.shape[1])


def hit(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """1 with at least one hit, else 0."""
    return (hits.sum(axis=1) > 0).astype(np.float64)


def _ranks(hits: np.ndarray) -> np.ndarray:
    return np.arange(1, hits.shape[1] + 1)


@dataclass(frozen=True)
class ListMetric:
    """A metric of one list per user.

    of     from hits float64 (U, K), ones and zeros, and counts int (U,), all ≥ 1, to float64 (U,)
    shown  True if the table that `kgspark evaluate` prints has a column for it, at K = 10
    """

    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shown: bool = False


METRICS: dict[str, ListMetric] = {
    "ndcg": ListMetric(ndcg, shown=True),
    "recall": ListMetric(recall, shown=True),
    "precision": ListMetric(precision),
    "mrr": ListMetric(reciprocal_rank, shown=True),
    "map": ListMetric(average_precision),
    "hit": ListMetric(hit),
}
