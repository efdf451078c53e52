"""The softmax over the next like: at every place of a user's history, all movies compete to be the like that follows.

Only the maps of a history encoder learn; the movies' vectors are those of the trained model. The loss of a place is
−log softmax(e · t / τ) over the movies t, with e of the likes before it. Klenitskiy and Vasilev 2023 (“Turning Dross
Into Gold Loss”) show what the full softmax is worth for sequences.
"""

import math
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.histories import Histories, batches_of_like_size
from kgspark.kge.device import product_type
from kgspark.kge.model.history import HistoryEncoder, decay, length_of
from kgspark.kge.objectives.objective import RateAt, epoch_generator
from kgspark.kge.objectives.row_adam import RowAdam
from kgspark.kge.settings import TrainSettings

# Number of queries whose scores are in memory at once: few enough for a cache.
_CHUNK = {"cpu": 1024, "cuda": 8192}
# Users of a step have histories whose lengths differ by less than this, so that little of a batch is padding.
_LENGTH_STEP = 12


class NextLikes:
    """Trains the maps of an encoder in place; an `Objective`."""

    def __init__(self, encoder: HistoryEncoder, items: torch.Tensor, likes: Histories, settings: TrainSettings) -> None:
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
        candidates, positions, log_counts = self._candidates(wanted, generator)
        loss = _NextLikeLoss.apply(queries, candidates, positions, log_counts, self.settings.temperature, self.sum_type)
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
        places = movies.shape[1]
        weights = kept.float()
        parts = []
        for table, decays in zip(maps, self.decays.values(), strict=True):
            of_places = decays[:places, :places]
            length = length_of(weights @ (of_places**2).T)
            vectors = F.embedding(movies, table.to(self.sum_type)) * kept[..., None]
            sums = torch.matmul(of_places.to(self.sum_type), vectors)
            parts.append(sums.float() / length[..., None])
        return reduce(torch.add, parts)

    def _candidates(
        self, wanted: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The movies that compete in a step, the columns of the wanted ones among them, and log-Q corrections.

        They are all movies, or, if the softmax samples, the wanted ones of the step and some of the others: see
        `SoftmaxObjective`.
        """
        size, device = self.settings.sample_size, self.items.device
        own = torch.unique(wanted)
        rest = len(self.items) - len(own)
        if not size or rest <= size:
            return self.items, wanted, None
        drawn = torch.randint(rest, (size,), generator=generator, device=device)
        # The drawn numbers count the movies that are not wanted; a sorted search skips the wanted ones.
        gaps = own - torch.arange(len(own), device=device)
        others = drawn + torch.searchsorted(gaps, drawn, right=True)
        log_counts = torch.zeros(len(own) + size, device=device)
        log_counts[len(own) :] = math.log(rest / size)
        return self.items[torch.cat([own, others])], torch.searchsorted(own, wanted), log_counts


class _NextLikeLoss(torch.autograd.Function):
    """Sum of −log softmax over the items, in chunks of queries; the gradient is made in the same pass."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        queries: torch.Tensor,
        items: torch.Tensor,
        wanted: torch.Tensor,
        log_counts: torch.Tensor | None,
        temperature: float,
        kind: torch.dtype,
    ) -> torch.Tensor:
        scaled = (items / temperature).to(kind)
        gradient, total = torch.empty_like(queries), queries.new_zeros((), dtype=torch.float64)
        size = _CHUNK[queries.device.type]
        for part, of_part, columns in zip(queries.split(size), gradient.split(size), wanted.split(size), strict=True):
            logits = (part.to(kind) @ scaled.T).float()
            if log_counts is not None:
                logits += log_counts
            logits -= logits.amax(1, keepdim=True)
            of_wanted = logits.gather(1, columns[:, None]).squeeze(1)
            sums = logits.exp_().sum(1)
            total += (sums.log() - of_wanted).sum(dtype=torch.float64)
            logits /= sums[:, None]
            logits[torch.arange(len(columns), device=columns.device), columns] -= 1
            of_part.copy_(logits.to(kind) @ scaled)
        ctx.save_for_backward(gradient)
        return total.float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *of_loss: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * of_loss[0], None, None, None, None, None
