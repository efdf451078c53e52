"""What the network reads at each place of a history: the movie, how much it was liked, and the times around it.

Weights and times are logarithms in whole steps, so they are rows of a table. 0 stands for what is not known.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from kgspark.graph.histories import Histories

# Steps of a weight per octave: enough for half stars to differ.
_STEPS_PER_OCTAVE = 8
# Weights from 1/16 to 16 of each other have their own numbers, and times up to 2³¹ seconds.
_MOST_WEIGHT, _MOST_TIME = 32, 32
WEIGHT_NUMBERS, TIME_NUMBERS = 2 * _MOST_WEIGHT, _MOST_TIME + 1


class Block(NamedTuple):
    """Some users' places, the latest in the last column.

    movies, weights, gaps, waits  int64 (B, n), see `Places`; 0 where there is no place
    present  bool (B, n): where there is one
    """

    movies: torch.Tensor
    weights: torch.Tensor
    gaps: torch.Tensor
    waits: torch.Tensor
    present: torch.Tensor


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
        """`likes` are in order, with times; `asked` int64 (U,) is in seconds since 1970, None if it is not known."""
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
            waits[latest] = time_numbers(asked[likes.sizes > 0] - likes.times[latest])
        return cls(likes.indices.astype(np.int64), weights, gaps, waits)

    def block(self, first: np.ndarray, last: np.ndarray, width: int, device: torch.device) -> Block:
        """The places from `first` up to but not including `last` int64 (B,), at most `width` each."""
        at = last[:, None] - width + np.arange(width)
        present = at >= first[:, None]
        at = np.where(present, at, 0)
        parts = (np.where(present, part[at], 0) for part in (self.movies, self.weights, self.gaps, self.waits))
        return Block(*(torch.from_numpy(part).to(device) for part in (*parts, present)))


def time_numbers(seconds: np.ndarray) -> np.ndarray:
    """The numbers int64 of times in seconds; at least 1."""
    return 1 + np.minimum(_MOST_TIME - 1, np.log2(1.0 + np.maximum(seconds, 0))).astype(np.int64)
