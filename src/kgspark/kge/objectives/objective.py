"""What trains a model: an objective walks over the triples of some splits, once an epoch, and updates the tables."""

from collections.abc import Callable
from typing import Protocol

import torch

from kgspark.kge.objectives.row_adam import RowAdam
from kgspark.kge.settings import TrainSettings

RateAt = Callable[[float], float]  # share of the epoch that is done -> step size


class Objective(Protocol):
    """Updates the model's tables in place, on the device where they lie."""

    optimizer: RowAdam

    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over the triples; the loss, per unit of weight.

        Everything random is drawn from (seed, number), so an epoch does not depend on how training got to it.
        """
        ...


def draws_of(settings: TrainSettings, epoch: int, device: torch.device, worker: int = 0) -> torch.Generator:
    """The generator of an epoch's draws on the training device, other ones for every worker."""
    return torch.Generator(device).manual_seed(settings.seed * 1_000_003 + epoch + worker * 1_000_000_007)
