"""What a network of histories reads at each place of a history: the movie, how much it was liked, the times around it.

Weights and times are logarithms in whole steps, so they are rows of a table. 0 stands for what is not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kgspark.graph.histories import Histories

# Steps of a weight per octave: enough for half stars to differ.
_STEPS_PER_OCTAVE = 8
# Weights from 1/16 to 16 of each other have their own numbers, and times up to 2³¹ seconds.
_MOST_WEIGHT, _MOST_TIME = 32, 32
WEIGHT_NUMBERS, TIME_NUMBERS = 2 * _MOST_WEIGHT, _MOST_TIME + 1
# Places whose vectors are in memory at once when queries are made.
_BLOCK_PLACES = 1 << 12
_SHORTEST_BLOCK = 16


class Block(NamedTuple):
    """Some users' places, the latest in the last column.

    movies, weights, gaps, waits  int64 (B, n), see `Places`; 0 where there is no place
    present  bool (B, n): where there is one
    """

    movies: np.ndarray
    weights: np.ndarray
    gaps: np.ndarray
    waits: np.ndarray
    present: np.ndarray


@dataclass(frozen=True)
class Places:
    """The likes of all users, each user's in order of time: int64 (n,) each.

    weights  round(8 log₂ weight), from 1 on
    gaps     1 + ⌊log₂(1 + seconds)⌋ since the user's like before; 0 for the first one
    waits    the same until the next like; for the latest one, until the time that is asked for, or 0
    """

    movies: np.ndarray
    weights: np.ndarray
    gaps: np.ndarray
    waits: np.ndarray

    @classmethod
    def of(cls, likes: Histories, asked: np.ndarray | None = None) -> "Places":
        """`likes` are in order, with times.

        asked  (U,), in seconds since 1970; None if it is not known, which a time before the user's latest like is not
        """
        if likes.times is None:
            raise ValueError("likes without times have no order")
        steps = np.round(_STEPS_PER_OCTAVE * np.log2(np.maximum(likes.entry_weights, 1e-9, dtype=np.float64)))
        weights = np.clip(steps, 1 - _MOST_WEIGHT, _MOST_WEIGHT - 1).astype(np.int64) + _MOST_WEIGHT
        gaps, waits = (np.zeros(len(likes.indices), np.int64) for _ in range(2))
        owners = likes.rows()
        follows = owners[1:] == owners[:-1]
        gaps[1:] = waits[:-1] = np.where(follows, time_numbers(np.diff(likes.times)), 0)
        if asked is not None:
            latest = likes.indptr[1:][likes.sizes > 0] - 1
            seconds = asked[likes.sizes > 0] - likes.times[latest]
            waits[latest] = np.where(seconds >= 0, time_numbers(seconds), 0)
        return cls(likes.indices.astype(np.int64), weights, gaps, waits)

    def block(self, first: np.ndarray, last: np.ndarray, width: int) -> Block:
        """The places from `first` up to but not including `last` int64 (B,), at most `width` each."""
        at = last[:, None] - width + np.arange(width)
        present = at >= first[:, None]
        at = np.where(present, at, 0)
        parts = (np.where(present, part[at], 0) for part in (self.movies, self.weights, self.gaps, self.waits))
        return Block(*(*parts, present))


def time_numbers(seconds: np.ndarray) -> np.ndarray:
    """The numbers int64 of times in seconds; at least 1."""
    return 1 + np.minimum(_MOST_TIME - 1, np.log2(1.0 + np.maximum(seconds, 0))).astype(np.int64)


def rows_of_block(width: int) -> int:
    """Number of users whose places are in one block of this width."""
    return max(1, _BLOCK_PLACES // width)


def users_by_block(sizes: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Users with likes, and the width of their block: the power of two that holds their own `sizes` int64 (U,)."""
    widths = np.maximum(_SHORTEST_BLOCK, 2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64))
    for width in np.unique(widths[sizes > 0]).tolist():
        users = np.flatnonzero((widths == width) & (sizes > 0))
        for start in range(0, len(users), rows_of_block(width)):
            yield users[start : start + rows_of_block(width)], width
