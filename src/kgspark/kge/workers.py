"""The processes that train one model together: which triples each of them has, and sums over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from kgspark.metrics.ranking import means


@dataclass(frozen=True)
class Workers:
    """How many processes train together, and which of them this one is; alone by default.

    A triple belongs to the worker that its head is dealt to: position p of a kind to worker p mod count. A kind that is
    never a tail (users) is owned: only that worker has the head's row too, and no other one ever reads it. Rows of all
    other kinds and of relations are shared: every worker has them, and all take the same steps.
    """

    count: int = 1
    rank: int = 0

    def dealt(self, positions: np.ndarray) -> np.ndarray:
        """Which of the positions inside a kind, int64 (n,), are this worker's: bool (n,)."""
        return positions % self.count == self.rank

    def place(self, heads: np.ndarray, owned: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows of its kind that a step over `heads` updates here, and which of them have their triples here.

        heads  int64 (n,): positions of a kind as `everyone` gave them
        Returns int64 positions among the kind's rows that this worker has, and places among those; None for all.
        """
        if self.count == 1:
            return heads, None
        here = np.flatnonzero(self.dealt(heads))
        return (heads[here] // self.count, None) if owned else (heads, here)

    def everyone(self, heads: np.ndarray, rows: int, owned: bool) -> np.ndarray:
        """Positions in the whole kind, ascending, of the heads that any worker names.

        heads  int64 (n,): positions among the `rows` of the kind that this worker has
        """
        if self.count == 1:
            return heads
        size = int(self.total(rows)) if owned else rows
        marks = torch.zeros(size, dtype=torch.uint8)
        marks[torch.from_numpy(heads * self.count + self.rank if owned else heads)] = 1
        self.add_up([marks])
        return np.flatnonzero(marks.numpy())

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Puts into each tensor its sum over the workers, the same bytes in every one of them."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def total(self, value: float) -> float:
        """The sum of a number over the workers."""
        held = torch.tensor(value, dtype=torch.float64)
        self.add_up([held])
        return float(held)

    def means(self, by_user: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`metrics.ranking.means` over the users of all workers."""
        if self.count == 1:
            return means(by_user)
        sums = torch.tensor([[len(values), values.sum()] for values in by_user.values()], dtype=torch.float64)
        self.add_up([sums])
        return {name: float(total / users) for name, (users, total) in zip(by_user, sums, strict=True) if users}

    def wait(self) -> None:
        """Returns when every worker has come here."""
        self.total(0)


ALONE = Workers()
