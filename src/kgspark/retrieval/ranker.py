"""The lists of a block of queries: by vectors, by business rules, and filled with popular movies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.retrieval.index import FlatIndex
from kgspark.retrieval.pools import Pool, rank_pools
from kgspark.retrieval.popular import PopularList
from kgspark.retrieval.rules.lists import Block, lists_by_rules
from kgspark.retrieval.rules.rules import Rules
from kgspark.retrieval.scores import score_pairs
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.topk import Ranking
from kgspark.tables import AVERAGE, SOURCES


@dataclass(frozen=True)
class Ranker:
    """Ranks one side of a search space for queries of the other.

    index    over the whole ranked side
    alike    float32 (items, width): the coordinates of the ranked vectors that tell what is like what
    pools    what may be listed for whom
    queries  float32 (Q, d)
    query_sources, ranked_sources  uint8: the origin of each vector, a position in `tables.SOURCES`
    popular  fill the lists that the vectors do not fill; without them, queries with average vectors are ranked by these
    rules    the business rules of lists of items; None for none
    """

    index: FlatIndex
    alike: np.ndarray
    pools: Sequence[Pool]
    queries: np.ndarray
    query_sources: np.ndarray
    ranked_sources: np.ndarray
    popular: Sequence[PopularList] = ()
    rules: Rules | None = None

    def lists(
        self, positions: np.ndarray, seen: Histories, k: int, settings: IndexSettings | None = None
    ) -> tuple[Ranking, np.ndarray]:
        """The lists of the queries at `positions` int64 (B,) that have seen `seen`; the source of each place (B, k).

        settings  of the approximate search; None ranks exactly
        """
        if self.rules is not None:
            block = self._block(positions, seen, settings)
            return lists_by_rules(self.rules, block, self.popular, k)
        ranking = self.rank(positions, seen, k, settings)
        sources = self._sources(positions, ranking.ids)
        for popular in self.popular:
            popular.fill(ranking, sources, seen, popular.rows(positions))
        return ranking, sources

    def measured(self, positions: np.ndarray, seen: Histories, k: int) -> Ranking:
        """The exact lists that those of an approximate search are compared with; without rules, before filling them."""
        return self.rank(positions, seen, k) if self.rules is None else self.lists(positions, seen, k)[0]

    def rank(self, positions: np.ndarray, seen: Histories, k: int, settings: IndexSettings | None = None) -> Ranking:
        """The best by the model's score, without popular items and without rules."""
        placed = np.flatnonzero(self._has_vector(positions))
        some = positions[placed]
        found = rank_pools(self.pools, self.queries[some], some, seen.pick(placed), k, settings)
        if len(placed) == len(positions):
            return found
        ranking = Ranking.empty(len(positions), k)
        ranking.ids[placed], ranking.scores[placed], ranking.counts[placed] = found.ids, found.scores, found.counts
        return ranking

    def _has_vector(self, positions: np.ndarray) -> np.ndarray:
        """Mask bool (B,) of the queries that are ranked by their vectors."""
        if not self.popular:
            return np.ones(len(positions), bool)
        return self.query_sources[positions] != SOURCES.index(AVERAGE)

    def _sources(self, positions: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The weaker source of the two vectors of each place of lists, uint8 (B, k); of empty ones, any number."""
        return np.minimum(self.query_sources[positions][:, None], self.ranked_sources[ids])

    def _block(self, positions: np.ndarray, seen: Histories, settings: IndexSettings | None) -> Block:
        def search(rows: np.ndarray, taken: Histories, n: int) -> Ranking:
            return self.rank(positions[rows], taken, n, settings)

        def scores(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
            return score_pairs(self.index, self.queries[positions[rows]], ids)

        def sources(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
            return self._sources(positions[rows], ids)

        return Block(positions, seen, self._has_vector(positions), self.alike, search, scores, sources)
