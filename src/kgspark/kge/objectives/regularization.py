"""What large coordinates cost: L2 and N3 (Lacroix et al. 2018), on the rows that a batch reads."""

import torch

from kgspark.kge.model.models import Rows, moduli
from kgspark.kge.settings import TrainSettings


def penalty(settings: TrainSettings, *read: tuple[Rows, torch.Tensor]) -> torch.Tensor:
    """Σ counts · (l2 · Σ |x|² + n3 / 3 · Σ |x|³) over all rows that were read and their coordinates, a scalar.

    A complex coordinate counts by its modulus, as in equation 6 of the paper.

    read  rows (n, dim) by table, and how many positives of the batch read each of them, (n,)
    """
    costs = []
    for rows, counts in read:
        sizes = moduli(settings, rows)  # (n, width)
        cost = settings.l2 * sizes.square().sum(1) + settings.n3 / 3 * sizes.pow(3).sum(1)
        costs.append((counts * cost).sum())
    return torch.stack(costs).sum()


def wanted(settings: TrainSettings) -> bool:
    """Whether there is a penalty at all: looking at every coordinate again takes time."""
    return bool(settings.l2 or settings.n3)
