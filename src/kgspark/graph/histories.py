"""Positions by query, as compressed sparse rows: what each user has seen, likes, or is to be found."""

from dataclasses import dataclass

import numpy as np

from kgspark.errors import StageError


@dataclass(frozen=True)
class Histories:
    """One list of positions a query; order and repetitions inside a list do not matter.

    indptr   int64 (B + 1,): query b owns `indices[indptr[b]:indptr[b + 1]]`
    indices  int64 (nnz,): positions on the ranked side, each in [0, N)
    """

    indptr: np.ndarray
    indices: np.ndarray

    @classmethod
    def empty(cls, rows: int) -> "Histories":
        """Histories of `rows` queries that have seen nothing."""
        return cls(np.zeros(rows + 1, dtype=np.int64), np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        """Queries."""
        return len(self.indptr) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Entries of each query, int64 (B,)."""
        return np.diff(self.indptr)

    def check(self, rows: int, catalogue: int) -> None:
        """Raises ValueError for a malformed layout, StageError for a position outside [0, `catalogue`)."""
        if len(self) != rows or self.indptr[0] != 0 or self.indptr[-1] != len(self.indices) or (self.sizes < 0).any():
            raise ValueError(f"histories of {len(self)} queries do not fit {rows} queries, or indptr is not increasing")
        if len(self.indices) and (self.indices.min() < 0 or self.indices.max() >= catalogue):
            found = f"{self.indices.min()}..{self.indices.max()}"
            raise StageError(
                f"seen positions {found} lie outside the index's 0..{catalogue - 1}; "
                "the entities table and the search space are not of the same night"
            )

    def pick(self, rows: np.ndarray) -> "Histories":
        """The histories of the queries `rows` int64 (R,), in that order."""
        sizes = self.sizes[rows]
        indptr = np.concatenate(([0], np.cumsum(sizes)))
        places = np.repeat(self.indptr[rows] - indptr[:-1], sizes) + np.arange(indptr[-1])
        return Histories(indptr, self.indices[places])

    def rows(self) -> np.ndarray:
        """The query of every entry, int64 (nnz,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def counts(self, catalogue: int) -> np.ndarray:
        """How many entries name each position, int64 (catalogue,)."""
        return np.bincount(self.indices, minlength=catalogue)

    def within(self, chosen: np.ndarray) -> "Histories":
        """The entries that are among the sorted positions `chosen` int64 (C,), as places in `chosen`."""
        if not len(chosen):
            return Histories.empty(len(self))
        places = np.minimum(np.searchsorted(chosen, self.indices), len(chosen) - 1)
        kept = chosen[places] == self.indices
        sizes = np.bincount(self.rows()[kept], minlength=len(self))
        return Histories(np.concatenate(([0], np.cumsum(sizes))), places[kept])

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Whether each of the ids int64 (B, w) is in its row's list, bool (B, w)."""
        if not len(self.indices):
            return np.zeros(ids.shape, dtype=bool)
        span = max(int(self.indices.max()), int(ids.max(initial=0))) + 1
        known = np.sort(self.rows() * span + self.indices)
        asked = np.arange(len(self))[:, None] * span + ids
        places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return (known[places] == asked) & (ids >= 0)

    def __or__(self, other: "Histories") -> "Histories":
        """Query by query, the entries of both, sorted."""
        rows, indices = (np.concatenate(pair) for pair in ((self.rows(), other.rows()), (self.indices, other.indices)))
        return Histories(self.indptr + other.indptr, indices[np.lexsort((indices, rows))])
