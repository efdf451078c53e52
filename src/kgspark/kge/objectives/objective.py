"""The interface of all objectives: an epoch walks over the triples of some splits and updates the model's tables."""

from collections.abc import Callable
from typing import Protocol

import torch

from kgspark.kge.objectives.row_adam import RowAdam
from kgspark.kge.settings import TrainSettings

RateAt = Callable[[float], float]  # fraction of the epoch that is done -> step size


class Objective(Protocol):
    """Updates the model's tables in place, on their device."""

    optimizer: RowAdam

    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over the triples; returns the loss per unit of weight.

        All random draws depend on (seed, number) alone, so an epoch gives the same result after a restart.
        """
        ...


def epoch_generator(settings: TrainSettings, epoch: int, device: torch.device, stream: int = 0) -> torch.Generator:
    """The generator of an epoch's draws on the training device; streams draw independently of each other."""
    return torch.Generator(device).manual_seed(settings.seed * 1_000_003 + epoch + stream * 1_000_000_007)
