"""Boosts: a number per movie that is added to every user's score of the movie, or that the score is multiplied with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.retrieval.topk import Ranking, pack, unpack


@dataclass(frozen=True)
class Boosts:
    """`factor` and `addend` float32 (M,) by position of a movie; factors are above 0.

    The final score of a movie is score · factor + addend, in float32. A score below 0 is divided by the factor instead,
    so that a factor above 1 always lifts a movie.
    """

    factor: np.ndarray
    addend: np.ndarray

    @classmethod
    def of(cls, kinds: Sequence[str], numbers: np.ndarray) -> "Boosts":
        """The boosts of `numbers` float64 (M, n), of which the number i is used as `kinds[i]`: add or multiply."""
        adds = np.array([kind == "add" for kind in kinds], bool)
        factor, addend = numbers[:, ~adds].prod(axis=1), numbers[:, adds].sum(axis=1)
        return cls(factor.astype(np.float32), addend.astype(np.float32))

    def of_movies(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The final scores, of the shape and type of `scores`, of the movies `ids` int64; -inf where an id is -1."""
        movies = np.maximum(ids, 0)
        boosted = _boosted(scores, self.factor[movies], self.addend[movies])
        return np.where(ids < 0, scores.dtype.type(-np.inf), boosted)

    def order(self, found: Ranking, is_whole: np.ndarray) -> tuple[Ranking, np.ndarray]:
        """The lists `found` (B, n) by final score, then by id; and how many of each one's first movies are proven.

        is_whole  mask bool (B,): nothing but these movies may be listed

        A movie that was not found has at most the model's score of the last one found. Rounding is monotone, so its
        final score is at most that of the largest factor and the largest addend. What is above that is proven.
        """
        keys = np.sort(pack(self.of_movies(found.scores, found.ids), found.ids), axis=1)
        ordered = unpack(keys)
        ceiling = _boosted(found.scores[:, -1], self.factor.max(initial=1), self.addend.max(initial=0))
        above = (ordered.scores > ceiling[:, None]).sum(axis=1)
        return ordered, np.where(is_whole, ordered.counts, above)


def _boosted(scores: np.ndarray, factor: np.ndarray | np.float32, addend: np.ndarray | np.float32) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        boosted: np.ndarray = np.where(scores < 0, scores / factor, scores * factor) + addend
    return boosted
