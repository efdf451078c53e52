"""Ranking metrics of held-out likes, scored on the device block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kgspark.graph.histories import Histories
from kgspark.kge.model.scoring import ranking_scores
from kgspark.kge.workers import SINGLE, Workers
from kgspark.metrics.groups import Groups, groups_of
from kgspark.metrics.ranking import hit_matrix, means, ranking_metrics
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


@dataclass(frozen=True)
class Measured:
    """Metrics of held-out likes: means over the users, and those of groups of users and movies.

    figures  {} where nothing is held out
    groups   by the number of likes that the model knows of a user or a movie: those in `seen`
    """

    figures: dict[str, float]
    groups: Groups


def measure(
    queries: torch.Tensor,
    items: torch.Tensor,
    metric: Metric,
    held_out: Histories,
    seen: Histories,
    k: int,
    offered: np.ndarray | None = None,
) -> Measured:
    """The means of `metrics_by_user` over the users of this process, and the groups of the same lists."""
    users, lists, hits = _lists_and_hits(queries, items, metric, held_out, seen, k, offered)
    wanted = held_out.pick(users)
    by_user = ranking_metrics(hits, wanted.sizes, (k,))
    likes = seen.counts(len(items))
    groups = groups_of(by_user[f"ndcg@{k}"], lists, hits, wanted.indices, seen.sizes[users], likes)
    return Measured(means(by_user), groups)


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
    users, _, hits = _lists_and_hits(queries, items, metric, held_out, seen, max(ks), offered)
    return ranking_metrics(hits, held_out.sizes[users], ks)


def _lists_and_hits(
    queries: torch.Tensor,
    items: torch.Tensor,
    metric: Metric,
    held_out: Histories,
    seen: Histories,
    k: int,
    offered: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users int64 (U,) with held-out likes, their lists int64 (U, k) of items, and which rows are hits, bool (U, k)."""
    users = np.flatnonzero(held_out.sizes)
    wanted = held_out.pick(users)
    if offered is None:
        ranked = top_items(queries, items, metric, users, seen, k)
    else:
        of_offered = items[torch.from_numpy(offered).to(items.device)]
        ranked = top_items(queries, of_offered, metric, users, seen.within(offered), k)
        ranked = np.where(ranked < 0, -1, offered[np.maximum(ranked, 0)])
    return users, ranked, hit_matrix(ranked, wanted.indptr, wanted.indices, len(items))


def top_items(
    queries: torch.Tensor, items: torch.Tensor, metric: Metric, users: np.ndarray, seen: Histories, k: int
) -> np.ndarray:
    """Positions int64 (len(users), k) of the best unseen items, best first, -1 where fewer than k are left."""
    lists = np.full((len(users), k), -1, np.int64)
    chosen = queries[torch.from_numpy(users).to(queries.device)]
    for rows, scores in unseen_scores(chosen, items, metric, seen.pick(users)):
        lists[rows] = best_of(scores, k)
    return lists


def unseen_scores(
    queries: torch.Tensor, items: torch.Tensor, metric: Metric, seen: Histories
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Scores (rows, M) of all items, in blocks of queries, with -inf for what is `seen`; in the order of the metric."""
    block = max(1, _BLOCK_SCORES[items.device.type] // max(len(items), 1))
    with torch.no_grad():
        for start in range(0, len(queries), block):
            rows = slice(start, min(start + block, len(queries)))
            scores = ranking_scores(queries[rows], items, metric)
            mask = seen.pick(np.arange(rows.start, rows.stop))
            flat = torch.from_numpy(mask.rows() * len(items) + mask.indices).to(scores.device)
            scores.view(-1)[flat] = -torch.inf
            yield rows, scores


def best_of(scores: torch.Tensor, k: int) -> np.ndarray:
    """Positions int64 (rows, k) of the highest scores, best first, -1 for -inf and where there are fewer than k."""
    best = scores.topk(min(k, scores.shape[1]), dim=1)
    found = best.indices.masked_fill(best.values == -torch.inf, -1).cpu().numpy()
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)


def popularity(train: Histories, held_out: Histories, seen: Histories, width: int, k: int) -> Measured:
    """What is measured if every list has the movies, of `width`, with the most train likes; ties go by position."""
    counts = train.counts(width)
    scores = np.empty(width, np.float32)
    # Ranks instead of counts: they are distinct, so the list does not depend on topk's choice among equal counts.
    scores[np.argsort(-counts, kind="stable")] = np.arange(width, 0, -1)
    items = torch.from_numpy(scores)[:, None]
    return measure(torch.ones(len(train), 1), items, "inner_product", held_out, seen, k)
