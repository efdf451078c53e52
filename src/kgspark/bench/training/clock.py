"""The clock of `bench train`: epochs of several trainings in turn, and their usage of a GPU.

For all contestants the clock runs only during training: not while triples are read and arranged, not in evaluations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import torch

from kgspark.bench.common import in_turn
from kgspark.bench.training.usage import Usage, usage_of

# A GPU's utilisation is measured over this many seconds.
_UTILISATION_SECONDS = 3.0


class Contestant(Protocol):
    """A training whose epochs can be timed one by one.

    triples  positive triples that an epoch trains, each once
    device   where its weights are
    losses   mean loss of every epoch so far
    """

    triples: int
    device: torch.device
    losses: list[float]

    def epoch(self) -> float:
        """Trains one epoch; returns its seconds."""


@dataclass(frozen=True)
class Speed:
    """Seconds of each timed epoch of `triples` positive triples; `usage` is only given for a GPU."""

    triples: int
    seconds: tuple[float, ...]
    usage: Usage | None


def speeds_in_turn(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, Speed]:
    """One epoch of every contestant to warm up, then `rounds` timed ones in turn."""
    seconds = in_turn({name: contestant.epoch for name, contestant in contestants.items()}, rounds)
    return {
        name: Speed(contestant.triples, tuple(seconds[name]), _gpu_usage(contestant))
        for name, contestant in contestants.items()
    }


def _gpu_usage(contestant: Contestant) -> Usage | None:
    if contestant.device.type != "cuda":
        return None
    return usage_of(contestant.epoch, contestant.device, _UTILISATION_SECONDS)


def now(device: torch.device) -> float:
    """The time in seconds, after the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()
