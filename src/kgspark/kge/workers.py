"""The processes that train one model together: each worker's part, and sums over all workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from kgspark.metrics.ranking import means


@dataclass(frozen=True)
class StepHeads:
    """This worker's part of the heads of one step.

    rows          int64 (n,): heads that this worker updates, as positions among its own rows of their kind
    with_triples  int64 (B,): indices into `rows` of the heads whose triples are here; None for all
    private       True if no other worker has these rows, so that their gradients are complete here
    """

    rows: np.ndarray
    with_triples: np.ndarray | None
    private: bool


@dataclass(frozen=True)
class Workers:
    """The number of processes that train together, and the rank of this one; a single process by default.

    A triple belongs to the worker of its head, and the entity at position p of a kind belongs to worker p mod count.
    Kinds that are never tails (users) are private: only the worker of such a head has its row. Every worker has the
    rows of all other kinds and of the relations, and all workers update these by the same steps.
    """

    count: int = 1
    rank: int = 0

    def mine(self, heads: np.ndarray, private: bool) -> StepHeads:
        """This worker's part of a step over `heads` int64 (n,), which are positions in the whole kind (see `union`)."""
        if self.count == 1:
            return StepHeads(heads, None, private)
        here = np.flatnonzero(self.has(heads))
        return StepHeads(heads[here] // self.count, None, True) if private else StepHeads(heads, here, False)

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over the workers, with the same bytes in all of them."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def has(self, positions: np.ndarray) -> np.ndarray:
        """Mask bool (n,) of the positions inside a kind, int64 (n,), that belong to this worker."""
        return positions % self.count == self.rank

    def union(self, heads: np.ndarray, rows: int, private: bool) -> np.ndarray:
        """Positions in the whole kind, ascending, of the `heads` of all workers.

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
        number = torch.tensor(value, dtype=torch.float64)
        self.sum([number])
        return float(number)

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
