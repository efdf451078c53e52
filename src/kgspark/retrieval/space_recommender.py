"""A search space as a recommender; its scores are those of the published lists."""

import numpy as np

from kgspark.retrieval.index import build_index
from kgspark.retrieval.scores import score_all
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, SOURCES


class SpaceRecommender:
    """Scores movies for users by the vectors of a search space."""

    def __init__(self, space: SearchSpace, threads: int) -> None:
        """Raises StageError for vectors that are not finite."""
        self._queries = space.queries
        self._unplaced = np.flatnonzero(space.item_sources == SOURCES.index(AVERAGE))
        self._index = build_index(space.items, space.metric, space.offset, threads)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M) of every movie for the users int64 (B,); -inf for one without a vector of its own."""
        scores = score_all(self._index, np.ascontiguousarray(self._queries[users]))
        scores[:, self._unplaced] = -np.inf
        return scores
