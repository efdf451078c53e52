"""The state of a training between two epochs. A checkpoint holds all of it, so a resumed training ends the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch

from kgspark.kge.model.two_tower import parameters_by_table
from kgspark.kge.objectives.objective import Objective
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.checkpoints import Checkpoint
from kgspark.kge.training.run_folder import Epoch


class TrainingState:
    """Weights, their moving average, the best of them so far, the optimizer's moments, and the history."""

    def __init__(self, model: torch.nn.Module, objective: Objective, settings: TrainSettings) -> None:
        """Epoch 0: the weights are the model's initial ones."""
        self.model, self.objective, self.settings = model, objective, settings
        self.tables = parameters_by_table(model)
        self.average = _copy_tables(self.tables) if settings.ema else self.tables
        self.best = _copy_tables(self.tables)
        self.history: list[Epoch] = []
        self.epoch = self.best_epoch = self.stale = 0
        self.best_ndcg = float("-inf")

    def average_weights(self, epochs: int) -> None:
        """Moves the average towards the weights; faster in the first `epochs`, so that the random start fades."""
        if self.settings.ema:
            decay = min(self.settings.ema, (epochs + 1) / (epochs + 10))
            for name, average in self.average.items():
                average.lerp_(self.tables[name], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """A context in which the model holds the averaged weights."""
        if not self.settings.ema:
            yield
            return
        current = _copy_tables(self.tables)
        _copy_into(self.tables, self.average)
        try:
            yield
        finally:
            _copy_into(self.tables, current)

    def record(self, epoch: Epoch) -> None:
        """Adds an epoch; keeps its averaged weights if its NDCG is the best, or if no epoch was evaluated so far."""
        self.epoch = epoch.epoch
        self.history.append(epoch)
        measured = self.best_ndcg > float("-inf")
        if epoch.ndcg is None:
            better = not measured
        else:
            better = epoch.ndcg > self.best_ndcg
            self.stale = 0 if better else self.stale + 1
            self.best_ndcg = max(self.best_ndcg, epoch.ndcg)
        if better:
            self.best_epoch = epoch.epoch
            _copy_into(self.best, self.average)

    def take_best(self) -> None:
        """Copies the best weights into the model."""
        _copy_into(self.tables, self.best)

    def take_average(self) -> None:
        """Copies the averaged weights into the model."""
        if self.settings.ema:
            _copy_into(self.tables, self.average)

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        """The whole state, with the names that `resume` reads."""
        parts = {"weights": self.tables, "best": self.best, "optimizer": self.objective.optimizer.state()}
        if self.settings.ema:
            parts["average"] = self.average
        header = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_ndcg": self.best_ndcg if self.best_epoch and self.best_ndcg > float("-inf") else None,
            "stale": self.stale,
            "history": [asdict(epoch) for epoch in self.history],
        }
        tensors = {f"{part}.{name}": value for part, tables in parts.items() for name, value in tables.items()}
        return Checkpoint(tensors, header)

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Restores the state of a checkpoint; None changes nothing."""
        if checkpoint is None:
            return
        tensors, header = checkpoint.tensors, checkpoint.header
        self.objective.optimizer.load_state(_part(tensors, "optimizer"))
        _copy_into(self.tables, _part(tensors, "weights"))
        _copy_into(self.best, _part(tensors, "best"))
        if self.settings.ema:
            _copy_into(self.average, _part(tensors, "average"))
        self.history = [Epoch(**epoch) for epoch in header["history"]]
        self.epoch, self.best_epoch, self.stale = header["epoch"], header["best_epoch"], header["stale"]
        self.best_ndcg = float("-inf") if header["best_ndcg"] is None else header["best_ndcg"]


def _part(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def _copy_tables(tables: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: table.clone() for name, table in tables.items()}


def _copy_into(tables: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> None:
    for name, table in tables.items():
        table.copy_(values[name])
