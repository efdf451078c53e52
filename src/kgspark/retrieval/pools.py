"""Pools: all queries against all rows, or each segment's users against its candidates.

A pool is a set of queries and the rows that may be listed for them. For recommendations, the queries are the users of a
segment, and the rows are its candidates. For audiences it is the other way round, and a movie that is a candidate of
several segments gets the best users of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from kgspark.graph.histories import Histories
from kgspark.retrieval.approximate import approximate_top_k
from kgspark.retrieval.index import FlatIndex
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.topk import Ranking, top_k


@dataclass(frozen=True)
class Pool:
    """Some queries, and the rows of the ranked side that may be listed for them.

    index     over the offered rows, in rising order of their positions
    offered   int64: the positions of these rows, sorted; None for all
    queries   int64: the positions of the queries, sorted; None for all
    found_by  an approximate index over the same rows, or None to search exactly
    """

    index: FlatIndex
    offered: np.ndarray | None = None
    queries: np.ndarray | None = None
    found_by: faiss.Index | None = None

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """The rows of `positions` int64 (B,) whose query belongs to this pool, int64."""
        return rows_among(self.queries, positions)

    def top_k(self, queries: np.ndarray, seen: Histories, k: int, settings: IndexSettings | None) -> Ranking:
        """The k best unseen offered rows of each query float32 (B, d), as positions on the ranked side.

        seen      positions on the ranked side
        settings  settings of the approximate search; None ranks exactly
        """
        if self.offered is not None:
            seen = seen.within(self.offered)
        if self.found_by is None or settings is None:
            ranking = top_k(self.index, queries, seen, k)
        else:
            ranking = approximate_top_k(self.index, self.found_by, settings, queries, seen, k)
        if self.offered is None:
            return ranking
        ids = np.where(ranking.ids < 0, -1, self.offered[np.maximum(ranking.ids, 0)])
        return Ranking(ids, ranking.scores, ranking.counts)


def rows_among(chosen: np.ndarray | None, positions: np.ndarray) -> np.ndarray:
    """The rows of `positions` int64 (B,) that are in `chosen` int64, sorted and not empty; all rows for None."""
    if chosen is None:
        return np.arange(len(positions))
    found = np.minimum(np.searchsorted(chosen, positions), len(chosen) - 1)
    return np.flatnonzero(chosen[found] == positions)


def rank_pools(
    pools: Sequence[Pool],
    queries: np.ndarray,
    positions: np.ndarray,
    seen: Histories,
    k: int,
    settings: IndexSettings | None = None,
) -> Ranking:
    """Each query's k best rows over all its pools, of which no two may have a row in common.

    queries    float32 (B, d)
    positions  int64 (B,): the queries' positions inside their kind
    seen       positions on the ranked side
    settings   settings of the approximate search; None ranks exactly
    """
    lists = Ranking.empty(len(positions), k)
    ids, scores = lists.ids, lists.scores
    for pool in pools:
        rows = pool.rows(positions)
        if not len(rows):
            continue
        found = pool.top_k(queries[rows], seen.pick(rows), k, settings)
        if len(pools) == 1:
            ids[rows], scores[rows] = found.ids, found.scores
        else:
            ids[rows], scores[rows] = _merge(ids[rows], scores[rows], found, k)
    return Ranking(ids, scores, (ids >= 0).sum(axis=1))


def _merge(ids: np.ndarray, scores: np.ndarray, found: Ranking, k: int) -> tuple[np.ndarray, np.ndarray]:
    ids, scores = np.hstack([ids, found.ids]), np.hstack([scores, found.scores])
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
