"""Lists of positions, one per query, as compressed sparse rows: the items that each user has seen or likes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kgspark.errors import StageError


@dataclass(frozen=True)
class Histories:
    """One list of positions per query; the order and repetitions inside a list do not matter.

    indptr   int64 (B + 1,): query b has `indices[indptr[b]:indptr[b + 1]]`
    indices  int64 (nnz,): positions on the ranked side, each in [0, N)
    weights  float32 (nnz,); None if every entry has the weight 1
    times    int64 or float64 (nnz,): seconds since 1970, 0 for an entry without a time; None if no entry has one
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray | None = None
    times: np.ndarray | None = None

    @classmethod
    def from_sizes(
        cls,
        sizes: np.ndarray | Sequence[int],
        indices: np.ndarray,
        weights: np.ndarray | None = None,
        times: np.ndarray | None = None,
    ) -> "Histories":
        """Histories from `indices`, which has the lists one after the other; `sizes` (B,) is the length of each."""
        indptr = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, dtype=np.int64, out=indptr[1:])
        return cls(indptr, indices, weights, times)

    @classmethod
    def of(cls, lists: Iterable[Sequence[int] | np.ndarray]) -> "Histories":
        """Histories of the given lists of positions."""
        arrays = [np.asarray(positions, np.int64) for positions in lists]
        return cls.from_sizes([len(array) for array in arrays], np.concatenate([np.empty(0, np.int64), *arrays]))

    @classmethod
    def empty(cls, rows: int) -> "Histories":
        """Histories of `rows` queries that have seen nothing."""
        return cls(np.zeros(rows + 1, dtype=np.int64), np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.indptr) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Number of entries per query, int64 (B,)."""
        return np.diff(self.indptr)

    @property
    def entry_weights(self) -> np.ndarray:
        """The weight of every entry, float32 (nnz,)."""
        return np.ones(len(self.indices), np.float32) if self.weights is None else self.weights

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
        starts = np.cumsum(sizes) - sizes
        return self._select(sizes, np.repeat(self.indptr[rows] - starts, sizes) + np.arange(sizes.sum()))

    def in_order(self, latest_first: bool = False) -> "Histories":
        """The entries of each list by time, those of the same second by position.

        Raises ValueError if entries have no times.
        """
        if self.times is None:
            raise ValueError("likes without times have no order")
        sign = -1 if latest_first else 1
        order = np.lexsort((sign * self.indices, sign * self.times, self.rows()))
        return self._select(self.sizes, order)

    def limit(self, most: int) -> "Histories":
        """The same queries; only `most` of those with entries, evenly spread, keep their entries. 0 keeps all."""
        sizes = self.sizes
        having = np.flatnonzero(sizes)
        if not most or len(having) <= most:
            return self
        chosen = having[np.linspace(0, len(having) - 1, most).round().astype(np.int64)]
        kept = np.zeros_like(sizes)
        kept[chosen] = sizes[chosen]
        return replace(self.pick(chosen), indptr=np.concatenate([[0], kept.cumsum()]))

    def rows(self) -> np.ndarray:
        """The query of every entry, int64 (nnz,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def counts(self, catalogue: int) -> np.ndarray:
        """Number of entries per position, int64 (catalogue,)."""
        return np.bincount(self.indices, minlength=catalogue)

    def where(self, kept: np.ndarray) -> "Histories":
        """The entries that `kept` bool (nnz,) marks."""
        before = np.concatenate([[0], np.cumsum(kept)])
        return self._select(np.diff(before[self.indptr]), kept)

    def within(self, chosen: np.ndarray) -> "Histories":
        """The entries that are among the sorted positions `chosen` int64 (C,), numbered by their index in `chosen`."""
        if not len(chosen):
            return Histories.empty(len(self))
        found = np.minimum(np.searchsorted(chosen, self.indices), len(chosen) - 1)
        return replace(self, indices=found).where(chosen[found] == self.indices)

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Mask bool (B, w) of the ids int64 (B, w) that are in the list of their row."""
        if not len(self.indices):
            return np.zeros(ids.shape, dtype=bool)
        span = max(int(self.indices.max()), int(ids.max(initial=0))) + 1
        known = np.sort(self.rows() * span + self.indices)
        wanted = np.arange(len(self))[:, None] * span + ids
        found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return (known[found] == wanted) & (ids >= 0)

    def __or__(self, other: "Histories") -> "Histories":
        """The entries of both per query, sorted; without weights and times."""
        rows, indices = (np.concatenate(pair) for pair in ((self.rows(), other.rows()), (self.indices, other.indices)))
        return Histories(self.indptr + other.indptr, indices[np.lexsort((indices, rows))])

    def _select(self, sizes: np.ndarray, entries: np.ndarray) -> "Histories":
        """The given entries, as positions or a mask, in lists of the given `sizes`."""
        weights, times = (None if part is None else part[entries] for part in (self.weights, self.times))
        return Histories.from_sizes(sizes, self.indices[entries], weights, times)


def batches_of_like_size(rows: np.ndarray, sizes: np.ndarray, total: int, step: int) -> list[np.ndarray]:
    """The `rows` int64 (R,) in batches of about `total` entries, each of rows of like size, so that little is padding.

    sizes  int64: the number of entries of every row that there is
    step   rows whose sizes lie in the same range of this length keep their given order
    """
    if not len(rows):
        return []
    rows = rows[np.argsort(sizes[rows] // step, kind="stable")]
    filled = np.cumsum(sizes[rows]) // total
    return np.split(rows, np.flatnonzero(np.diff(filled)) + 1)
