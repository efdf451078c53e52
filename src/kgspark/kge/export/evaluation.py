"""Ranking metrics of held-out likes, scored on the device block by block."""

from collections.abc import Sequence

import numpy as np
import torch

from kgspark.graph.histories import Histories
from kgspark.kge.model.scoring import ranking_scores
from kgspark.kge.workers import SINGLE, Workers
from kgspark.metrics.ranking import hit_matrix, ranking_metrics
from kgspark.search_space import Metric

# Number of scores in memory at once. 2²² float32 are 16 MiB, which a CPU's allocator can reuse without new pages; a GPU
# needs larger products.
_BLOCK_SCORES = {"cpu": 1 << 22, "cuda": 1 << 24}


def evaluate(
    queries: torch.Tensor,
    items: torch.Tensor,
    metric: Metric,
    held_out: Histories,
    seen: Histories,
    ks: Sequence[int] = (10,),
    workers: Workers = SINGLE,
    offered: np.ndarray | None = None,
) -> dict[str, float]:
    """The means of `metrics_by_user` over the users of all workers; {} where nothing is held out."""
    return workers.means(metrics_by_user(queries, items, metric, held_out, seen, ks, offered))


def metrics_by_user(
    queries: torch.Tensor,
    items: torch.Tensor,
    metric: Metric,
    held_out: Histories,
    seen: Histories,
    ks: Sequence[int] = (10,),
    offered: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """`ranking_metrics` of the top max(ks) unseen items of every user with held-out likes.

    queries   float32 (U, d) and items float32 (M, d) on any device
    held_out  the tails to find, per user; seen  the tails to leave out of the lists
    offered   int64, sorted: the only tails that may be in a list; None for all
    Returns float64 (users with something held out,) per metric.
    """
    users = np.flatnonzero(held_out.sizes)
    wanted = held_out.pick(users)
    if offered is None:
        ranked = top_items(queries, items, metric, users, seen, max(ks))
    else:
        of_offered = items[torch.from_numpy(offered).to(items.device)]
        ranked = top_items(queries, of_offered, metric, users, seen.within(offered), max(ks))
        ranked = np.where(ranked < 0, -1, offered[np.maximum(ranked, 0)])
    hits = hit_matrix(ranked, wanted.indptr, wanted.indices, len(items))
    return ranking_metrics(hits, wanted.sizes, ks)


def top_items(
    queries: torch.Tensor, items: torch.Tensor, metric: Metric, users: np.ndarray, seen: Histories, k: int
) -> np.ndarray:
    """Positions int64 (len(users), k) of the best unseen items, best first, -1 where fewer than k are left."""
    k_here = min(k, len(items))
    block = max(1, _BLOCK_SCORES[items.device.type] // max(len(items), 1))
    lists = np.full((len(users), k), -1, np.int64)
    with torch.no_grad():
        for start in range(0, len(users), block):
            some = users[start : start + block]
            scores = ranking_scores(queries[torch.from_numpy(some).to(queries.device)], items, metric)
            mask = seen.pick(some)
            flat = torch.from_numpy(mask.rows() * len(items) + mask.indices).to(scores.device)
            scores.view(-1)[flat] = -torch.inf
            best = scores.topk(k_here, dim=1)
            found = best.indices.masked_fill(best.values == -torch.inf, -1)
            lists[start : start + len(some), :k_here] = found.cpu().numpy()
    return lists


def popularity(
    train: Histories, held_out: Histories, seen: Histories, width: int, ks: Sequence[int] = (10,)
) -> dict[str, float]:
    """Metrics if every list contains the movies, of `width`, with the most train likes; ties go by position."""
    counts = train.counts(width)
    scores = np.empty(width, np.float32)
    # Ranks instead of counts: they are distinct, so the list does not depend on topk's choice among equal counts.
    scores[np.argsort(-counts, kind="stable")] = np.arange(width, 0, -1)
    items = torch.from_numpy(scores)[:, None]
    return evaluate(torch.ones(len(train), 1), items, "inner_product", held_out, seen, ks)
