"""Ranking metrics of top-K lists against held-out likes, vectorised over users, in NumPy.

Relevance is binary. With `hit[u, i]` = 1 where the i-th recommended movie (from 1) of user u was held out, and `n[u]`
the number of movies held out for u:

NDCG@K      Σᵢ hit / log₂(i+1), divided by Σ_{i ≤ min(n, K)} 1 / log₂(i+1)   (Järvelin and Kekäläinen 2002)
Recall@K    hits / n
Precision@K hits / K
MRR@K       1 / rank of the first hit, 0 without one
MAP@K       Σᵢ hit · precision@i / min(n, K)
Hit@K       1 with at least one hit
"""

from collections.abc import Mapping, Sequence

import numpy as np


def hit_matrix(ranked: np.ndarray, indptr: np.ndarray, held_out: np.ndarray, catalogue: int) -> np.ndarray:
    """Which of the ranked movies were held out.

    ranked    int (U, K): movie positions in [0, catalogue); -1 where a list is shorter
    indptr    int (U + 1,) and held_out int (n,): CSR of the held-out movies of the same users
    Returns bool (U, K).
    """
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    relevant = np.sort(users * np.int64(catalogue) + held_out)
    asked = np.arange(len(ranked))[:, None] * np.int64(catalogue) + ranked
    if len(relevant) == 0:
        return np.zeros(ranked.shape, dtype=bool)
    at = np.minimum(np.searchsorted(relevant, asked), len(relevant) - 1)
    return (relevant[at] == asked) & (ranked >= 0)


def ranking_metrics(hits: np.ndarray, held_out_counts: np.ndarray, ks: Sequence[int] = (10,)) -> dict[str, np.ndarray]:
    """Metrics of every user who has something held out.

    hits             bool (U, K) with K ≥ max(ks), from `hit_matrix`
    held_out_counts  int (U,)
    Returns `{"ndcg@10": float64 (users with held_out_counts > 0,), ...}`; the mean over users is the usual figure.
    """
    counted = held_out_counts > 0
    hits = hits[counted].astype(np.float64)
    counts = held_out_counts[counted]
    if hits.shape[1] < max(ks):
        hits = np.pad(hits, ((0, 0), (0, max(ks) - hits.shape[1])))
    result: dict[str, np.ndarray] = {}
    for k in ks:
        top = hits[:, :k]
        ranks = np.arange(1, k + 1)
        discount = 1.0 / np.log2(ranks + 1)
        ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(counts, k)]
        found = top.sum(axis=1)
        first = np.where(found > 0, top.argmax(axis=1) + 1, np.inf)
        precision_at = np.cumsum(top, axis=1) / ranks
        result[f"ndcg@{k}"] = (top * discount).sum(axis=1) / ideal
        result[f"recall@{k}"] = found / counts
        result[f"precision@{k}"] = found / k
        result[f"mrr@{k}"] = 1.0 / first
        result[f"map@{k}"] = (top * precision_at).sum(axis=1) / np.minimum(counts, k)
        result[f"hit@{k}"] = (found > 0).astype(np.float64)
    return result


def means(by_user: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`ranking_metrics` averaged over users; empty when nobody has anything held out."""
    return {name: float(values.mean()) for name, values in by_user.items() if len(values)}
