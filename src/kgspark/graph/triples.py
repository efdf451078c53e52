"""Triples in memory: sorted NumPy arrays by split and relation."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.tables import TEST, TRAIN, VALID

SPLITS = (TRAIN, VALID, TEST)


@dataclass(frozen=True)
class Pairs:
    """Triples of one relation, sorted by (head, tail), each pair once.

    heads, tails  int64 (n,), entity indices; weights  float32 (n,)
    times  int64 or float64 (n,), seconds since 1970, 0 for a triple without a time; None if no triple has one
    """

    heads: np.ndarray
    tails: np.ndarray
    weights: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def sort(
        cls, heads: np.ndarray, tails: np.ndarray, weights: np.ndarray, times: np.ndarray | None = None
    ) -> "Pairs":
        """Sorts by (head, tail) and merges repeated pairs: weights are summed, and the latest time is kept.

        The result does not depend on the order of the rows.
        """
        given = cls(heads, tails, weights, times)
        if len(heads) == 0:
            return given
        # One int64 key sorts several times faster than lexsort; the numbers of entities are small enough for it.
        order = np.argsort(heads * (tails.max() + 1) + tails, kind="stable")
        first = np.ones(len(heads), bool)
        first[1:] = (np.diff(heads[order]) != 0) | (np.diff(tails[order]) != 0)
        if first.all():
            return given.at(order)
        order = np.lexsort((weights, tails, heads))  # also by weight, because a sum of floats depends on their order
        kept = order[first]
        starts = np.flatnonzero(first)
        total = np.add.reduceat(weights[order], starts).astype(np.float32)
        return cls(
            heads[kept], tails[kept], total, None if times is None else np.maximum.reduceat(times[order], starts)
        )

    def at(self, rows: np.ndarray) -> "Pairs":
        """Some of the triples: bool (n,), or ascending positions."""
        times = None if self.times is None else self.times[rows]
        return Pairs(self.heads[rows], self.tails[rows], self.weights[rows], times)

    def inverse(self) -> "Pairs":
        """The same triples from tail to head."""
        return Pairs.sort(self.tails, self.heads, self.weights, self.times)

    def __len__(self) -> int:
        return len(self.heads)


@dataclass(frozen=True)
class TripleSet:
    """The triples of a graph: `parts[split, relation index]`, without keys for empty parts."""

    parts: Mapping[tuple[str, int], Pairs]

    def __len__(self) -> int:
        return sum(len(pairs) for pairs in self.parts.values())

    def pairs(self, relation: int, splits: Sequence[str] = (TRAIN,)) -> Pairs:
        """The triples of one relation, by its index, in any of the given splits."""
        chosen = [self.parts[split, relation] for split in splits if (split, relation) in self.parts]
        if len(chosen) == 1:
            return chosen[0]
        if not chosen:
            return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        heads, tails, weights = (
            np.concatenate([getattr(pairs, name) for pairs in chosen]) for name in ("heads", "tails", "weights")
        )
        times = [pairs.times for pairs in chosen if pairs.times is not None]
        return Pairs.sort(heads, tails, weights, np.concatenate(times) if len(times) == len(chosen) else None)

    def fingerprint(self) -> str:
        """SHA-256 over all triples; equal for equal triples, however they were sharded or ordered."""
        digest = hashlib.sha256()
        for key in sorted(self.parts):
            pairs = self.parts[key]
            digest.update(repr((key, len(pairs))).encode())
            for array in (pairs.heads, pairs.tails, pairs.weights, pairs.times):
                if array is not None:
                    digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()
