"""Lists for any history, from the vectors of a night and with NumPy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.fold_in.query_function import QueryFunction
from kgspark.graph.histories import Histories
from kgspark.search_space import ITEMS, SearchSpace, read_ids
from kgspark.tables import AVERAGE, SEARCH_SPACE, SOURCES


@dataclass(frozen=True)
class FoldIn:
    """The vectors of a night, and its function of likes.

    space     the night's search space; item_ids: external ids of its items, int64 or string (M,)
    function  the query of likes
    """

    space: SearchSpace
    item_ids: pa.Array
    function: QueryFunction

    @classmethod
    def open(cls, run: Path) -> "FoldIn":
        """Opens the folder `<lake>/runs/<date>` of a night. Its vectors are mapped into memory.

        Raises InputError if a file is missing.
        """
        folder = run / SEARCH_SPACE
        space, function = SearchSpace.load(folder), QueryFunction.load(folder)
        return cls(space, read_ids(folder, ITEMS, len(space.items)), function)

    def queries(self, likes: Histories, asked: np.ndarray | None = None) -> np.ndarray:
        """Queries float32 (U, d) of likes by position in the items; without times, the last like is the latest.

        likes  their weights and the time between two of them are read by the network of histories alone. Without times,
               one second lies between two likes
        asked  float64 (U,): the times, in seconds since 1970, that the lists are for; None for those of the night. Only
               the network reads them

        A user who likes nothing has a query, too: the constant c.
        """
        width = self.function.weights.shape[1]
        if asked is None and self.function.asked is not None and likes.times is not None:
            asked = self.function.asked.of(likes)
        queries = self.function.queries(self.space.items[:, :width], likes, self._placed, asked)
        ones = np.ones((len(queries), self.space.items.shape[1] - queries.shape[1]))  # for a trend, if there is one
        return np.concatenate([queries, ones], axis=1).astype(np.float32)

    def top(
        self,
        liked: Sequence[int | str],
        k: int = 10,
        times: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        asked: float | None = None,
    ) -> list[tuple[int | str, float]]:
        """The k best movies for who likes these, with scores, best first; without the liked ones.

        liked    external ids, in the order of the likes if there are no `times`; movies that the night does not know
                 are left out
        times    of the likes, in seconds since 1970
        weights  of the likes, as `relations.liked.weight` makes them of ratings (rating / 4 by default); 1 if None
        asked    the time that the list is for, in seconds since 1970; None for that of the night. See `queries`

        Raises ValueError if no liked movie has a vector.
        """
        found = pc.index_in(pa.array(liked, type=self.item_ids.type), value_set=self.item_ids)
        known = np.flatnonzero(np.asarray(pc.is_valid(found)))
        movies = np.asarray(found.take(pa.array(known))).astype(np.int64)
        if not self._placed[movies].any():
            raise ValueError(f"none of the {len(liked)} movies has a vector in this night")
        of_likes = None if weights is None else np.asarray(weights, np.float32)[known]
        at = None if times is None else np.asarray(times, np.float64)[known]
        likes = Histories.from_sizes([len(movies)], movies, of_likes, at)
        (query,) = self.queries(likes, None if asked is None else np.array([asked], np.float64))
        scores = _scores(self.space, query)
        scores[~self._placed] = scores[movies] = -np.inf
        order = np.lexsort((np.arange(len(scores)), -scores))[:k]
        return [(self.item_ids[int(i)].as_py(), float(scores[i])) for i in order if np.isfinite(scores[i])]

    @property
    def _placed(self) -> np.ndarray:
        """Mask bool (M,) of the items with a vector of their own."""
        return np.asarray(self.space.item_sources != SOURCES.index(AVERAGE))


def _scores(space: SearchSpace, query: np.ndarray) -> np.ndarray:
    """Scores float32 (M,) of all items by the metric of the space, which is inner_product or l2."""
    if space.metric == "l2":
        return (space.offset - np.linalg.norm(space.items - query, axis=1)).astype(np.float32)
    return np.asarray(space.items @ query)
