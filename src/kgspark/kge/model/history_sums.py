"""Queries from histories: decayed sums of the movies that a user liked before, in the space of the model's items.

A relation leads from each like to the ones that follow it. It has one map per half-life h: a table P_h with one vector
per movie. With the likes j = 0, 1, ... of a user, the latest first,

    e(u) = Σ_h Σ_j w_hj P_h[movie j],    w_hj = 2^(−j/h) / (√(Σ_i 4^(−i/h)) + 0.3)

The weights of a half-life so have a length of about 1, however long the history is. The next like t is scored by
e(u) · t, so a query is still one vector. With P_h the items themselves and one half-life, e leads to what is like the
latest likes; trained maps learn what follows them (Rendle et al. 2010, “Factorizing personalized Markov chains”, and He
and McAuley 2016, “Fusing similarity models with Markov chains”, have such maps for the last one or few items).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.decays import SHORTEST, decay_weighted
from kgspark.graph.histories import Histories
from kgspark.kge.model.history import PREFIX, HistoryEncoder

# The first vectors, relative to the items: small, because they are added up.
_START = 0.3
# Number of users whose likes are gathered at once: bounds the memory.
_BLOCK_ROWS = 1 << 13


@dataclass(frozen=True)
class DecayedSums(HistoryEncoder):
    """The maps P_h, by half-life in places.

    maps  float32 (movies, width) each; objectives update them in place
    """

    maps: Mapping[float, torch.Tensor]

    @classmethod
    def start(cls, items: torch.Tensor, half_lives: Sequence[float]) -> "DecayedSums":
        """An encoder to train: every movie leads to itself. `items` is (movies, width)."""
        return cls({half_life: items.clone().mul_(_START) for half_life in half_lives})

    @classmethod
    def from_tables(cls, tables: Mapping[str, torch.Tensor]) -> Self:
        """The encoder with these `tables`."""
        maps = {float(name.removeprefix(PREFIX)): table for name, table in tables.items()}
        return cls(dict(sorted(maps.items())))

    @property
    def tables(self) -> dict[str, torch.Tensor]:
        """The maps by the name of their table in a model file, sharing memory."""
        return {f"{PREFIX}{half_life!r}": table for half_life, table in self.maps.items()}

    def queries(self, likes: Histories, asked: np.ndarray | None = None) -> torch.Tensor:
        """e (U, width) of all users, on the maps' device and in their type; zeros for a user without likes.

        likes  of all users, with times; `asked` changes nothing
        """
        ordered = likes.in_order(latest_first=True)
        device = next(iter(self.maps.values())).device
        blocks = [self._block(ordered.pick(rows), device) for rows in _blocks_of_rows(len(likes))]
        return torch.cat(blocks)

    def _block(self, latest_first: Histories, device: torch.device) -> torch.Tensor:
        parts = []
        for half_life, table in self.maps.items():
            kept = decay_weighted(latest_first, half_life)
            arrays = (kept.indices, kept.entry_weights, kept.indptr)
            movies, of_movies, starts = (torch.from_numpy(array).to(device) for array in arrays)
            of_movies = of_movies.to(table.dtype)
            parts.append(
                F.embedding_bag(
                    movies, table, starts, mode="sum", per_sample_weights=of_movies, include_last_offset=True
                )
            )
        return reduce(torch.add, parts)


def decay(places: int, half_life: float) -> torch.Tensor:
    """Weights float32 (places, places) of the input at column s for the query at row t: 2^(−(t − s)/h), 0 after it."""
    distance = torch.arange(places)[:, None] - torch.arange(places)[None]
    return torch.exp2(-distance.clamp(min=0) / half_life) * (distance >= 0)


def length_of(squared: torch.Tensor) -> torch.Tensor:
    """What sums are divided by, of the sum of their squared weights."""
    return squared.sqrt() + SHORTEST


def _blocks_of_rows(rows: int) -> Iterator[np.ndarray]:
    for start in range(0, max(rows, 1), _BLOCK_ROWS):
        yield np.arange(start, min(start + _BLOCK_ROWS, rows))
