"""Adam over rows of tables: a step reads and writes only the rows that it updates."""

from collections.abc import Mapping, Sequence

import torch

RowIndex = torch.Tensor | slice


class RowAdam:
    """Adam (Kingma & Ba 2015, algorithm 1); a row's moments and bias correction advance only when the row is updated.

    If every step updates every row, it is Adam; otherwise it is torch's SparseAdam, except that the bias is corrected
    by the number of updates of the row.
    """

    def __init__(
        self,
        tables: Mapping[str, torch.Tensor],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        """`tables` are float32 (rows, width) and are updated in place."""
        self.tables = tables
        self.betas, self.epsilon = betas, epsilon
        self.first = {name: torch.zeros_like(table) for name, table in tables.items()}
        self.second = {name: torch.zeros_like(table) for name, table in tables.items()}
        self.updates = {name: table.new_zeros(len(table), 1) for name, table in tables.items()}

    def leaves(self, names: Sequence[str], rows: RowIndex) -> dict[str, torch.Tensor]:
        """The given rows of the named tables, as leaves that collect gradients."""
        return {name: _rows_of(self.tables[name], rows).detach().requires_grad_() for name in names}

    def step(self, leaves: Mapping[str, torch.Tensor], rows: RowIndex, rate: float) -> None:
        """Updates the `rows` that `leaves` came from by the gradients of the leaves; does nothing at rate 0."""
        for name, leaf in leaves.items():
            if leaf.grad is not None and rate > 0:
                self.update(name, rows, leaf.grad, rate)

    @torch.no_grad()
    def update(self, name: str, rows: RowIndex, gradient: torch.Tensor, rate: float) -> None:
        """One step of size `rate` > 0 on distinct `rows`, a slice or int64 (n,), with their gradient (n, width)."""
        stores = (self.tables[name], self.first[name], self.second[name], self.updates[name])
        weights, first, second, updates = (_rows_of(store, rows) for store in stores)
        beta1, beta2 = self.betas
        updates.add_(1)
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # rate · m̂ / (√v̂ + ε), with both corrections moved into the denominator: they are numbers per row, not
        # matrices.
        per_step = (1 - beta1**updates) / rate
        scale = second.sqrt().mul_(per_step * (1 - beta2**updates).rsqrt()).add_(self.epsilon * per_step)
        weights.addcdiv_(first, scale, value=-1)
        if not isinstance(rows, slice):
            for store, values in zip(stores, (weights, first, second, updates), strict=True):
                store.index_copy_(0, rows, values)

    def state(self) -> dict[str, torch.Tensor]:
        """The moments and update counts by name, sharing memory with the optimizer."""
        parts = {"first": self.first, "second": self.second, "updates": self.updates}
        return {f"{part}.{name}": value for part, tables in parts.items() for name, value in tables.items()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copies what `state` returned back in."""
        for key, value in self.state().items():
            value.copy_(state[key])


def _rows_of(table: torch.Tensor, rows: RowIndex) -> torch.Tensor:
    """A view of a slice's rows, or a copy of an index's; `index_select` copies whole rows, indexing value by value."""
    return table[rows] if isinstance(rows, slice) else table.index_select(0, rows)
