"""Trains decayed sums by the softmax over the next like (`next_like_loss`), at every place of a user's history.

Only the maps of the sums learn; the movies' vectors are those of the trained model.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.histories import Histories, batches_of_like_size
from kgspark.kge.device import product_type
from kgspark.kge.model.history_sums import DecayedSums, decay, length_of
from kgspark.kge.objectives.next_like_loss import competitors, next_like_loss
from kgspark.kge.objectives.objective import RateAt, epoch_generator
from kgspark.kge.objectives.row_adam import RowAdam
from kgspark.kge.settings import TrainSettings

# Users of a step have histories whose lengths differ by less than this, so that little of a batch is padding.
_LENGTH_STEP = 12


class NextLikes:
    """Trains the maps of an encoder in place; an `Objective`."""

    def __init__(self, encoder: DecayedSums, items: torch.Tensor, likes: Histories, settings: TrainSettings) -> None:
        """`items` (movies, width) stay as they are; `likes` of all users, with times."""
        self.settings, self.history = settings, settings.history
        self.items = items
        self.encoder = encoder
        self.likes = likes.in_order()
        self.optimizer = RowAdam(encoder.tables)
        # A user's first like has no history.
        self.lengths = np.clip(likes.sizes - 1, 0, self.history.places)
        places = int(self.lengths.max(initial=0))
        self.decays = {half_life: decay(places, half_life).to(items.device) for half_life in encoder.maps}
        self.sum_type = product_type(items.device)

    def steps(self) -> int:
        """Number of steps of an epoch."""
        return len(self._batches(np.random.default_rng(0)))

    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over all places; returns the mean loss of a place."""
        batches = self._batches(np.random.default_rng([self.settings.seed, number]))
        generator = epoch_generator(self.settings, number, self.items.device)
        total, places = 0.0, int(self.lengths.sum())
        for step, users in enumerate(batches):
            total += self._step(users, rate(step / len(batches)), generator)
        return total / max(places, 1)

    def _batches(self, draws: np.random.Generator) -> list[np.ndarray]:
        """Users of like lengths, with about `history.batch_size` places together, in random order."""
        users = draws.permutation(np.flatnonzero(self.lengths))
        padded = (self.lengths // _LENGTH_STEP + 1) * _LENGTH_STEP  # at most so many places of a user in a batch
        batches = batches_of_like_size(users, padded, self.history.batch_size, _LENGTH_STEP)
        return [batches[position] for position in draws.permutation(len(batches))]

    def _step(self, users: np.ndarray, rate: float, generator: torch.Generator) -> float:
        movies, present, targets = self._places(users)
        rows, columns = torch.unique(movies[present], return_inverse=True)
        numbered = torch.zeros_like(movies)
        numbered[present] = columns
        names = list(self.encoder.tables)
        leaves = self.optimizer.leaves(names, rows)
        kept = present & (torch.rand(present.shape, generator=generator, device=present.device) >= self.history.dropout)
        queries = self._queries([leaves[name] for name in names], numbered, kept)[present]
        wanted = targets[present]
        offered, positions, log_counts = competitors(wanted, len(self.items), self.settings.sample_size, generator)
        candidates, temperature = self.items[offered], self.settings.temperature
        loss = next_like_loss(queries, candidates, positions, log_counts, temperature, self.sum_type)
        (loss / len(wanted)).backward()
        self.optimizer.step(leaves, rows, rate)
        return float(loss.detach())

    def _places(self, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The latest likes but one of each user, the last column the latest: movies, where there are any, next ones."""
        width = int(self.lengths[users].max())
        at = self.likes.indptr[users + 1][:, None] - 1 - width + np.arange(width)
        present = np.arange(width) >= width - self.lengths[users][:, None]
        liked = [np.where(present, self.likes.indices[np.where(present, at + step, 0)], 0) for step in (0, 1)]
        movies, there, targets = (
            torch.from_numpy(part).to(self.items.device) for part in (liked[0], present, liked[1])
        )
        return movies, there, targets

    def _queries(self, maps: list[torch.Tensor], movies: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """e (B, n, width) at every place, of the likes that are `kept` (B, n)."""
        return sums_at_places(maps, list(self.decays.values()), movies, kept, self.sum_type)


def sums_at_places(
    maps: Sequence[torch.Tensor],
    decays: Sequence[torch.Tensor],
    movies: torch.Tensor,
    kept: torch.Tensor,
    kind: torch.dtype,
) -> torch.Tensor:
    """The decayed sums e float32 (B, n, width) at every place, of the likes that are `kept` bool (B, n).

    maps, decays  one per half-life: rows of a map, and `decay` of at least n places
    movies        int64 (B, n): rows of the maps
    kind          the type of the products
    """
    places = movies.shape[1]
    weights = kept.float()
    parts = []
    for table, decayed in zip(maps, decays, strict=True):
        of_places = decayed[:places, :places]
        length = length_of(weights @ (of_places**2).T)
        vectors = F.embedding(movies, table.to(kind)) * kept[..., None]
        sums = torch.matmul(of_places.to(kind), vectors)
        parts.append(sums.float() / length[..., None])
    return reduce(torch.add, parts)
