"""Caps: at most n movies of a genre, a franchise or any other group in a list.

A list takes the movies in their order, and leaves out each one that has a group without room. So the list is known from
the first movies of the order alone, as many as it takes to fill it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Movies of an order that are looked at in one step. Their groups are compared with the room at once, so that the loop
# over single movies has only those that may fit.
_WINDOW = 256
# Counts of the groups of several lists in memory.
_CELLS = 1 << 24


@dataclass(frozen=True)
class Caps:
    """The groups of each movie, and the largest number of movies of each group in a list.

    groups  int32 (M, J): the groups of each movie, each once, padded with G
    limits  int64 (G + 1,): the largest numbers; that of the padding is not reached by any list
    """

    groups: np.ndarray
    limits: np.ndarray

    @property
    def lists_at_once(self) -> int:
        """Number of lists whose counts fit the memory."""
        return max(1, _CELLS // len(self.limits))

    @cached_property
    def _sets_of_groups(self) -> np.ndarray:
        """The different rows of `groups`, int32 (S, J)."""
        return np.unique(self.groups, axis=0)

    def no_counts(self, lists: int) -> np.ndarray:
        """Counts int32 (lists, G + 1) of empty lists."""
        return np.zeros((lists, len(self.limits)), np.int32)

    def add(self, counts: np.ndarray, ids: np.ndarray) -> None:
        """Counts the movies `ids` int64 (B, n), padded with -1, in place, whether they have room or not."""
        row, column = np.nonzero(ids >= 0)
        np.add.at(counts, (row[:, None], self.groups[ids[row, column]]), 1)
        counts[:, -1] = 0

    def add_each(self, counts: np.ndarray, rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Counts one movie of each of the different `rows` int64 (n,): `ids` int64 (n,), in place.

        Returns a mask bool (n,) of the rows in which a group of the movie has no room left.
        """
        groups = self.groups[ids]
        counts[rows[:, None], groups] += 1
        counts[rows, -1] = 0
        full: np.ndarray = (counts[rows[:, None], groups] >= self.limits[groups]).any(axis=1)
        return full

    def take(self, counts: np.ndarray, ids: np.ndarray, need: np.ndarray) -> np.ndarray:
        """Which movies of each order `ids` int64 (B, n), padded with -1 anywhere, a list takes, as a mask bool (B, n).

        counts  int32 (B, G + 1): of the lists so far; changed in place
        need    int64 (B,): the most movies that each list takes
        """
        taken, left = np.zeros(ids.shape, bool), need.copy()
        for start in range(0, ids.shape[1], _WINDOW):
            if not (left > 0).any():
                break
            window = ids[:, start : start + _WINDOW]
            self._take(counts, window, left, taken[:, start : start + _WINDOW])
        return taken

    def _take(self, counts: np.ndarray, ids: np.ndarray, left: np.ndarray, taken: np.ndarray) -> None:
        fits = self.fits(counts, ids) & (left > 0)[:, None]
        sizes = fits.sum(axis=1)
        columns = np.argsort(~fits, axis=1, kind="stable")[:, : sizes.max(initial=0)]
        for place in range(columns.shape[1]):
            rows = np.flatnonzero((place < sizes) & (left > 0))
            groups = self.groups[ids[rows, columns[rows, place]]]
            free = (counts[rows[:, None], groups] < self.limits[groups]).all(axis=1)
            rows = rows[free]
            self.add_each(counts, rows, ids[rows, columns[rows, place]])
            taken[rows, columns[rows, place]] = True
            left[rows] -= 1

    def fits(self, counts: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Mask bool (B, n): there is a movie, and every group of it has room in the list of its row."""
        groups = self.groups[np.maximum(ids, 0)]
        room = counts < self.limits
        free: np.ndarray = room[np.arange(len(ids))[:, None, None], groups].all(axis=2) & (ids >= 0)
        return free

    def is_open(self, counts: np.ndarray) -> np.ndarray:
        """Mask bool (B,): some movie of the catalogue has room in the list, be it listed or seen already or not."""
        room = counts < self.limits
        is_open = np.zeros(len(counts), bool)
        for groups in self._sets_of_groups:
            waiting = np.flatnonzero(~is_open)
            if not len(waiting):
                break
            is_open[waiting] = room[waiting[:, None], groups].all(axis=1)
        return is_open
