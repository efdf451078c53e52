"""Trains the network of histories by the softmax over the next like, at every place of every history.

A long history is cut into windows of `history.places` likes, the last of which ends with the latest like, so that all
likes are learned and a step stays small.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.histories import Histories
from kgspark.graph.places import Places
from kgspark.kge.device import product_type
from kgspark.kge.model.history_network import HistoryNetwork
from kgspark.kge.model.history_places import Block
from kgspark.kge.model.history_sums import decay
from kgspark.kge.objectives.next_like_loss import competitors, next_like_loss
from kgspark.kge.objectives.next_likes import sums_at_places
from kgspark.kge.objectives.objective import RateAt, epoch_generator
from kgspark.kge.objectives.row_adam import RowAdam, RowIndex
from kgspark.kge.settings import HistorySettings, TrainSettings

# Adam's, as transformers are trained: gradients by rare movies change quickly.
_BETAS = (0.9, 0.98)
# The time until the next like is hidden at this fraction of the places.
_HIDDEN = 0.5
# Windows are padded to a multiple of so many places: few shapes occur, and oneDNN keeps memory for each of them.
_WIDTH_STEP = 12


class NextLikesByNetwork:
    """Trains the encoder's tables in place; an `Objective`, but for the network's own optimizer."""

    def __init__(self, encoder: HistoryNetwork, items: torch.Tensor, likes: Histories, settings: TrainSettings) -> None:
        """`items` (movies, width) stay as they are; `likes` of all users, with times."""
        self.settings, self.history = settings, settings.history
        self.encoder, self.items = encoder, items
        self.optimizer = RowAdam(encoder.movie_tables, _BETAS)
        self.of_network = torch.optim.Adam(encoder.network.parameters(), betas=_BETAS)
        self.places = Places.of(likes.in_order())
        self.first, self.last = windows(likes, self.history.places)
        padded = -(-(self.last - self.first) // _WIDTH_STEP) * _WIDTH_STEP
        self.widths = np.minimum(padded, self.history.places)
        width = int(self.widths.max(initial=0))
        self.decays = [decay(width, half_life).to(items.device) for half_life in encoder.sums.maps]
        self.product = product_type(items.device)
        self.unliked = torch.from_numpy(likes.counts(len(items)) == 0).to(items.device)

    def steps(self) -> int:
        """Number of steps of an epoch."""
        return len(self._batches(np.random.default_rng(0)))

    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over all places; returns the mean loss of a place."""
        batches = self._batches(np.random.default_rng([self.settings.seed, number]))
        generator = epoch_generator(self.settings, number, self.items.device)
        pool = dropout_pool(self.history, self.items.shape[1])
        drop = _pooled_dropout(self.history.network.dropout, pool, generator, self.product)
        total, places = 0.0, int((self.last - self.first).sum())
        for step, rows in enumerate(batches):
            total += self._step(rows, rate(step / len(batches)), generator, drop)
        self.encoder.forget(self.unliked)
        return total / max(places, 1)

    def _batches(self, draws: np.random.Generator) -> list[np.ndarray]:
        """Windows of one padded width, with at most `history.batch_size` places together, in random order."""
        drawn, batches = draws.permutation(len(self.widths)), []
        for width in np.unique(self.widths):
            rows = drawn[self.widths[drawn] == width]
            batches += np.split(rows, range(0, len(rows), max(1, self.history.batch_size // width))[1:])
        return [batches[position] for position in draws.permutation(len(batches))]

    def _step(
        self, rows: np.ndarray, rate: float, generator: torch.Generator, drop: Callable[[torch.Tensor], torch.Tensor]
    ) -> float:
        block, targets = self._places(rows)
        liked, columns = torch.unique(block.movies[block.present], return_inverse=True)
        numbered = torch.zeros_like(block.movies)
        numbered[block.present] = columns
        inputs = self.optimizer.leaves(list(self.encoder.input_tables), liked)
        hidden = torch.rand(block.waits.shape, generator=generator, device=self.items.device) < _HIDDEN
        block = block._replace(movies=numbered, waits=block.waits.masked_fill(hidden, 0))
        queries = self._queries(list(inputs.values()), block, generator, drop).flatten(0, 1)
        counted = block.present.flatten()
        wanted = targets.flatten()
        wanted = torch.where(counted, wanted, wanted[counted][0])  # padding adds no movie to those that compete
        offered, positions, log_counts = competitors(wanted, len(self.items), self.settings.sample_size, generator)
        offered, outputs, candidates, bias = self._candidates(offered)
        temperature = self.settings.temperature
        loss = next_like_loss(queries, candidates, positions, log_counts, temperature, self.product, bias, counted)
        self.of_network.zero_grad()
        # By the same number in every step, so that a place of a small batch counts as much as others.
        (loss / self.history.batch_size).backward()
        self.optimizer.step(inputs, liked, rate)
        self.optimizer.step(outputs, offered, rate)
        self.of_network.param_groups[0]["lr"] = rate
        self.of_network.step()
        return float(loss.detach())

    def _places(self, rows: np.ndarray) -> tuple[Block, torch.Tensor]:
        """The places of some windows, and the movie (B, n) that follows each of them."""
        first, last = self.first[rows], self.last[rows]
        width, device = int(self.widths[rows[0]]), self.items.device
        following = Block.of(self.places, first + 1, last + 1, width, device)
        return Block.of(self.places, first, last, width, device), following.movies

    def _candidates(self, offered: RowIndex) -> tuple[RowIndex, dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        """The distinct rows of the movies `offered`, their leaves, and for each of `offered` t + Δ and β."""
        names = list(self.encoder.output_tables)
        if isinstance(offered, slice):
            leaves = self.optimizer.leaves(names, offered)
            difference, bias = leaves.values()
            return offered, leaves, self.items + difference, bias
        rows, places = torch.unique(offered, return_inverse=True)  # a sample may have a movie twice
        leaves = self.optimizer.leaves(names, rows)
        difference, bias = leaves.values()
        return rows, leaves, self.items[offered] + difference[places], bias[places]

    def _queries(
        self,
        inputs: list[torch.Tensor],
        block: Block,
        generator: torch.Generator,
        drop: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """e float32 (B, n, width) at every place; `inputs` are the rows of the maps and of X that `block` names."""
        *maps, item = inputs
        seen = torch.rand(block.present.shape, generator=generator, device=self.items.device)
        kept = block.present & (seen >= self.history.network.dropout)
        sums = sums_at_places(maps, self.decays, block.movies, kept, self.product)
        with torch.autocast(self.items.device.type, self.product, enabled=self.product != torch.float32):
            found = self.encoder.network(F.embedding(block.movies, item), block, drop)
        return drop(sums) + found.float()


def windows(likes: Histories, places: int) -> tuple[np.ndarray, np.ndarray]:
    """The first place int64 (W,) of every window, and the one after its last; the like there is the last target.

    A user's windows cover all likes but the latest, and have `places` of them, but for the first one.
    """
    known = np.maximum(likes.sizes - 1, 0)
    counts = -(-known // places)
    users = np.repeat(np.arange(len(likes)), counts)
    back = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    last = likes.indptr[users + 1] - 1 - back * places
    return np.maximum(last - places, likes.indptr[users]), last


def dropout_pool(settings: HistorySettings, width: int) -> int:
    """Number of masks in the pool: twice those of the largest tensor of a step, which has two vectors per place."""
    return 4 * (settings.batch_size + settings.places) * width


def _pooled_dropout(
    fraction: float, size: int, generator: torch.Generator, kind: torch.dtype
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Dropout whose masks are cut out of a pool: drawing them anew would take a quarter of a step on a CPU."""
    if not fraction:
        return lambda x: x
    drawn = torch.rand(size, generator=generator, device=generator.device)
    pool = ((drawn >= fraction).float() / (1 - fraction)).to(kind)
    starts = np.random.default_rng(generator.initial_seed())

    def drop(x: torch.Tensor) -> torch.Tensor:
        start = int(starts.integers(size - x.numel()))
        return x * pool[start : start + x.numel()].view(x.shape)

    return drop
