"""The processes that train one model together: the part of each, and sums over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from kgspark.metrics.ranking import means


@dataclass(frozen=True)
class StepHeads:
    """This worker's part of the heads of one step.

    rows     int64 (n,): heads whose vectors this worker updates, as positions among its own rows of their kind
    asking   int64 (B,): indices into `rows` of the heads whose triples are here; None for all
    private  no other worker has these rows, so their gradients are complete here
    """

    rows: np.ndarray
    asking: np.ndarray | None
    private: bool


@dataclass(frozen=True)
class Workers:
    """The number of processes that train together, and which of them this one is; a single one by default.

    A triple belongs to one worker, by its head: position p of a kind belongs to worker p mod count. Kinds that are
    never tails (users) are private: only the worker of a head has the head's row. Rows of all other kinds and of
    relations are in every worker, and all workers update them by the same steps.
    """

    count: int = 1
    rank: int = 0

    def mine(self, heads: np.ndarray, private: bool) -> StepHeads:
        """This worker's part of a step over `heads` int64 (n,), positions of a kind as `union` gives them."""
        if self.count == 1:
            return StepHeads(heads, None, private)
        here = np.flatnonzero(self.has(heads))
        return StepHeads(heads[here] // self.count, None, True) if private else StepHeads(heads, here, False)

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Puts into each tensor its sum over the workers, the same bytes in every one of them."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def has(self, positions: np.ndarray) -> np.ndarray:
        """Tells which of the positions inside a kind, int64 (n,), belong to this worker: bool (n,)."""
        return positions % self.count == self.rank

    def union(self, heads: np.ndarray, rows: int, private: bool) -> np.ndarray:
        """Positions in the whole kind, ascending, of the heads that any worker names.

        heads  int64 (n,): positions among the `rows` of the kind that this worker has
        """
        if self.count == 1:
            return heads
        size = int(self.total(rows)) if private else rows
        marks = torch.zeros(size, dtype=torch.uint8)
        marks[torch.from_numpy(heads * self.count + self.rank if private else heads)] = 1
        self.sum([marks])
        return np.flatnonzero(marks.numpy())

    def total(self, value: float) -> float:
        """The sum of a number over the workers."""
        held = torch.tensor(value, dtype=torch.float64)
        self.sum([held])
        return float(held)

    def means(self, by_user: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`metrics.ranking.means` over the users of all workers."""
        if self.count == 1:
            return means(by_user)
        sums = torch.tensor([[len(values), values.sum()] for values in by_user.values()], dtype=torch.float64)
        self.sum([sums])
        return {name: float(total / users) for name, (users, total) in zip(by_user, sums, strict=True) if users}

    def wait(self) -> None:
        """Returns when every worker has called it."""
        self.total(0)


SINGLE = Workers()
