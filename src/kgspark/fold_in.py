"""Lists for any history, from the vectors of a night and with NumPy alone: nothing is trained, and Spark is not needed.

A service can so answer a user who is not in the night, or who has liked something since. The arithmetic is that of a
night that serves the model: `kge.export.fold_in` for the query, `kge.export.recency` for its lean towards the latest
likes, and the trend as of the night.

    night = FoldIn.open(Path("lake/runs/2026-01-02"))
    night.top([1, 50, 296], k=10)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.errors import InputError
from kgspark.graph.decays import recent_weights
from kgspark.graph.histories import Histories
from kgspark.search_space import ITEMS, SearchSpace, read_ids
from kgspark.tables import AVERAGE, SEARCH_SPACE, SOURCES

_FILE = "fold_in.npz"


@dataclass(frozen=True)
class QueryFunction:
    """A query as a function of likes.

    weights    float32 (2 · width + 1, width): A, B and c of `kge.export.fold_in`
    share      fraction of a query that comes from the latest likes
    half_life  of these likes, in places
    encoder    the name of `train.history.encoder` that they need; `latest` needs nothing but the items
    """

    weights: np.ndarray
    share: float
    half_life: float
    encoder: str

    def save(self, folder: Path) -> None:
        """Writes one file into the existing folder of a search space; the same bytes for the same function."""
        header = json.dumps({"share": self.share, "half_life": self.half_life, "encoder": self.encoder})
        np.savez(folder / _FILE, header=np.array(header), weights=self.weights.astype(np.float32))

    @classmethod
    def load(cls, folder: Path) -> "QueryFunction":
        """Raises InputError if the folder has no such file."""
        try:
            with np.load(folder / _FILE, allow_pickle=False) as arrays:
                return cls(arrays["weights"], **json.loads(str(arrays["header"])))
        except FileNotFoundError:
            raise InputError(
                f"{folder / _FILE}: missing; a model that ranks by sums of distances (RotatE, TransE with norm 1) has "
                "none, and an earlier version wrote none: run train-embeddings again"
            ) from None


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

        Raises InputError if a file is missing, or if its lists need a trained encoder of histories.
        """
        folder = run / SEARCH_SPACE
        space, function = SearchSpace.load(folder), QueryFunction.load(folder)
        if function.share and function.encoder != "latest":
            raise InputError(
                f"{folder}: its queries need the trained encoder of histories ({function.encoder}), which needs torch; "
                "train with train.history.encoder=latest or train.export.recent_share=0"
            )
        return cls(space, read_ids(folder, ITEMS, len(space.items)), function)

    def queries(self, likes: Histories) -> np.ndarray:
        """Queries float32 (U, d) of likes by position in the items; without times, the last like is the latest.

        A user who likes nothing has a query, too: the constant c.
        """
        width = self.function.weights.shape[1]
        items = np.asarray(self.space.items[:, :width])
        counts = np.maximum(likes.sizes, 1)[:, None].astype(np.float32)
        sums = _sum_by_user(likes, items, np.ones(len(likes.indices), np.float32))
        rows = np.concatenate([sums / counts, sums / np.sqrt(counts), np.ones_like(counts)], axis=1)
        queries = rows @ self.function.weights
        if self.function.share:
            times = likes.times if likes.times is not None else np.arange(len(likes.indices))
            timed = Histories(likes.indptr, likes.indices, times=times)
            recent = _sum_by_user(likes, items, recent_weights(timed, self.function.half_life))
            lengths = np.linalg.norm(recent, axis=1, keepdims=True)
            recent *= np.linalg.norm(queries, axis=1, keepdims=True) / np.where(lengths > 0, lengths, 1)
            leaning = (1 - self.function.share) * queries + self.function.share * recent
            queries = np.where(lengths > 0, leaning, queries)
        ones = np.ones((len(queries), self.space.items.shape[1] - width))  # the coordinate of a trend, if there is one
        return np.concatenate([queries, ones], axis=1).astype(np.float32)

    def top(
        self, liked: Sequence[int | str], k: int = 10, times: Sequence[float] | None = None
    ) -> list[tuple[int | str, float]]:
        """The k best movies for who likes these, with scores, best first; without the liked ones.

        liked  external ids, in the order of the likes if there are no `times`; movies that the night does not know, or
               that have no vector, are left out

        Raises ValueError if none is left.
        """
        found = pc.index_in(pa.array(liked, type=self.item_ids.type), value_set=self.item_ids)
        known = np.flatnonzero(np.asarray(pc.is_valid(found)))
        movies = np.asarray(found.take(pa.array(known))).astype(np.int64)
        placed = self.space.item_sources != SOURCES.index(AVERAGE)
        known, movies = known[placed[movies]], movies[placed[movies]]
        if not len(movies):
            raise ValueError(f"none of the {len(liked)} movies has a vector in this night")
        at = np.arange(len(liked)) if times is None else np.asarray(times, np.float64)
        likes = Histories.from_sizes([len(movies)], movies, times=at[known])
        (query,) = self.queries(likes)
        scores = _scores(self.space, query)
        scores[~placed] = scores[movies] = -np.inf
        order = np.lexsort((np.arange(len(scores)), -scores))[:k]
        return [(self.item_ids[int(i)].as_py(), float(scores[i])) for i in order if np.isfinite(scores[i])]


def _scores(space: SearchSpace, query: np.ndarray) -> np.ndarray:
    """Scores float32 (M,) of all items by the metric of the space, which is inner_product or l2."""
    if space.metric == "l2":
        return (space.offset - np.linalg.norm(space.items - query, axis=1)).astype(np.float32)
    return np.asarray(space.items @ query)


def _sum_by_user(likes: Histories, items: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ weight · item over the likes of each user, float32 (U, width)."""
    weighted = items[likes.indices] * weights[:, None].astype(np.float32)
    ends = np.concatenate([np.zeros((1, items.shape[1])), np.cumsum(weighted, axis=0, dtype=np.float64)])
    return (ends[likes.indptr[1:]] - ends[likes.indptr[:-1]]).astype(np.float32)
