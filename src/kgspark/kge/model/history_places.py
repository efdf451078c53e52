"""The places of histories (`graph.places`) as tensors."""

from typing import NamedTuple

import numpy as np
import torch

from kgspark.graph.places import Places


class Block(NamedTuple):
    """`graph.places.Block` on a device."""

    movies: torch.Tensor
    weights: torch.Tensor
    gaps: torch.Tensor
    waits: torch.Tensor
    present: torch.Tensor

    @classmethod
    def of(cls, places: Places, first: np.ndarray, last: np.ndarray, width: int, device: torch.device) -> "Block":
        """`places.block(first, last, width)` on the device."""
        return cls(*(torch.from_numpy(part).to(device) for part in places.block(first, last, width)))
