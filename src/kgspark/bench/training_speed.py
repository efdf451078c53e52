"""How fast training is: tgraphx's own KGTrainer and kgspark's epochs, on the same triples and by the same clock.

The clock runs while triples are trained. Reading them, laying them out, and measuring are outside it, on both sides.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from tgraphx.kg.sampling import FilteredNegativeSampler, TypedNegativeSampler, UniformNegativeSampler
from tgraphx.kg.trainer import KGTrainer, KGTrainingConfig

from kgspark.bench.generated import GeneratedSettings, generated_likes
from kgspark.bench.usage import Usage, usage_of
from kgspark.graph.graph import Graph
from kgspark.graph.triples import TripleSet
from kgspark.kge.device import pick_device, reproducible
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.objectives.negatives import NegativeSampler
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.state import TrainingState
from kgspark.search_space import SearchSpace
from kgspark.tables import TRAIN

# How long a GPU is kept at work to see how busy it is.
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
    """Seconds of each timed epoch of `triples` positive triples; `usage` only of a GPU."""

    triples: int
    seconds: tuple[float, ...]
    usage: Usage | None


@dataclass(frozen=True)
class Lap:
    """A training after an epoch: its seconds so far, with initialisation, and the score of its vectors."""

    epoch: int
    seconds: float
    score: float


def in_turn(contestants: Sequence[Contestant], rounds: int) -> list[Speed]:
    """One epoch of every contestant to warm up, then `rounds` timed ones in turn: a slow minute meets them all."""
    for contestant in contestants:
        contestant.epoch()
    laps = [[contestant.epoch() for contestant in contestants] for _ in range(rounds)]
    return [
        Speed(contestant.triples, seconds, _gpu_usage(contestant))
        for contestant, seconds in zip(contestants, zip(*laps, strict=True), strict=True)
    ]


def _gpu_usage(contestant: Contestant) -> Usage | None:
    if contestant.device.type != "cuda":
        return None
    return usage_of(contestant.epoch, contestant.device, _UTILISATION_SECONDS)


def race(
    graph: Graph,
    settings: TrainSettings,
    splits: Sequence[str],
    score: Callable[[SearchSpace], float],
) -> list[Lap]:
    """Trains on `splits` for all of `settings.epochs`; after each, with the clock stopped, `score` sees the vectors."""
    run = KgsparkEpochs(graph, settings, splits)
    unrefitted = settings.model_copy(update={"refit": "none"})
    seconds, laps = run.initial_seconds, []
    for epoch in range(1, settings.epochs + 1):
        seconds += run.epoch()
        with run.state.averaged():
            space = export_search_space(run.state.model, graph, unrefitted)
        laps.append(Lap(epoch, seconds, score(space)))
    return laps


def first_at(laps: Sequence[Lap], score: float) -> Lap | None:
    """The first lap whose score is at least `score`; None where there is none."""
    return next((lap for lap in laps if lap.score >= score), None)


def generated_speed(generated: GeneratedSettings, settings: TrainSettings, rounds: int) -> Speed:
    """Epochs of `settings`' objective over a generated graph, with the memory that one more of them takes."""
    graph = generated_likes(generated, settings.target)
    # Where vectors start is no part of an epoch, and the truncated SVD of a large graph would take longer than it.
    changes = {"init": "normal", "negatives": generated.negatives}
    run = KgsparkEpochs(graph, settings.model_copy(update=changes))
    (speed,) = in_turn([run], rounds)
    return replace(speed, usage=usage_of(run.epoch, run.device))


class OurNegatives:
    """Draws of one typed, filtered negative for each triple, on the training device."""

    def __init__(self, graph: Graph, settings: TrainSettings) -> None:
        """Negatives of all train triples of `graph`, in one batch; an epoch is one draw for each."""
        self.device, self.triples = pick_device(settings), 0
        self.losses: list[float] = []
        chosen = settings.model_copy(update={"sampler": "typed", "filtered": True, "negatives": 1})
        known = _rows(graph).to(self.device)
        self.sampler = NegativeSampler(known, graph, chosen)
        self.positives = known[self.sampler.drawable(known)]
        self.triples = len(self.positives)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)

    def epoch(self) -> float:
        """Draws them all; returns the seconds."""
        begun = _now(self.device)
        self.sampler.draw(self.positives, self.generator)
        return _now(self.device) - begun


class TgraphxNegatives:
    """The same draws by tgraphx's FilteredNegativeSampler over its TypedNegativeSampler, on the CPU where it works."""

    def __init__(self, some: Graph, known: Graph) -> None:
        """Negatives of the train triples of `some`; those of `known` are left out."""
        self.device, self.losses = torch.device("cpu"), list[float]()
        ends, layout = ("head_kind", "tail_kind"), known.layout
        domains, ranges = (
            {relation.index: torch.arange(*layout.range(getattr(relation, end))) for relation in known.relations}
            for end in ends
        )
        typed = TypedNegativeSampler(layout.size, 1, domains=domains, ranges=ranges)
        self.sampler = FilteredNegativeSampler(layout.size, 1, set(map(tuple, _rows(known).tolist())), typed)
        self.positives = _rows(some)
        self.triples = len(self.positives)

    def epoch(self) -> float:
        """Draws them all; returns the seconds."""
        begun = perf_counter()
        self.sampler.sample(self.positives)
        return perf_counter() - begun


class KgsparkEpochs:
    """kgspark's own training, an epoch at a time: what `train` runs, without its validation and checkpoints.

    initial_seconds  what first vectors and the layout of the triples took
    """

    def __init__(self, graph: Graph, settings: TrainSettings, splits: Sequence[str] = (TRAIN,)) -> None:
        """StageError where the device or the target relation is not there."""
        self.settings, self.device = settings, pick_device(settings)
        self.plan = TrainingPlan(graph, settings)
        self.triples = sum(len(graph.pairs(relation, splits)) for relation in graph.relations)
        self.losses: list[float] = []
        begun = _now(self.device)
        with reproducible(settings, self.device):
            model = self.plan.new_model(splits, self.device, None)
            self.state = TrainingState(model, self.plan.objective(model, splits), settings)
        self.initial_seconds = _now(self.device) - begun

    def epoch(self) -> float:
        """Trains one epoch, each triple of the splits once; returns its seconds."""
        done = len(self.losses)
        with reproducible(self.settings, self.device):
            begun = _now(self.device)
            self.losses.append(self.state.objective.epoch(done + 1, self.plan.rate_after(done)))
            self.state.average_weights(done)
            return _now(self.device) - begun


class KGTrainerEpochs:
    """tgraphx's KGTrainer as it comes: softplus loss, one negative a positive, Adam; with its own samplers."""

    def __init__(self, graph: Graph, settings: TrainSettings, known: Graph | None = None) -> None:
        """Trains the train split of `graph`; negatives are uniform, or with `known` filtered: none of its triples."""
        self.settings, self.device = settings, pick_device(settings)
        self.rows = _rows(graph)
        self.triples = len(self.rows)
        self.losses: list[float] = []
        with _as_it_comes(settings):
            self.model = TrainingPlan(graph, settings).new_model((TRAIN,), self.device, None)
        # KGTrainer makes the same uniform sampler itself, but only for models with one table of entities.
        self.sampler = UniformNegativeSampler(graph.layout.size, 1)
        if known is not None:
            self.sampler = FilteredNegativeSampler(graph.layout.size, 1, set(map(tuple, _rows(known).tolist())))

    def epoch(self) -> float:
        """Trains two epochs and returns the seconds of the second: the first makes Adam's moments anew."""
        stamps: list[float] = []
        config = KGTrainingConfig(
            batch_size=self.settings.batch_size,
            num_negatives=1,
            loss_type="softplus",
            lr=self.settings.learning_rate,
            seed=self.settings.seed,
            device=str(self.device),
        )
        with _as_it_comes(self.settings):
            trainer = KGTrainer(
                self.model,
                config,
                self.rows,
                sampler=self.sampler,
                on_epoch_end=lambda *_: stamps.append(_now(self.device)),
            )
            self.losses += trainer.fit(epochs=2)["loss_history"]
        return stamps[1] - stamps[0]


def stock_settings(settings: TrainSettings, batch_size: int) -> TrainSettings:
    """KGTrainer's loss and negatives with `settings`' model, dimension, device, threads and seed."""
    same = {name: getattr(settings, name) for name in ("model", "norm", "dim", "target", "device", "threads", "seed")}
    return TrainSettings.model_validate({**same, "objective": "softplus", "batch_size": batch_size})


def sample(graph: Graph, count: int, seed: int) -> Graph:
    """`count` train triples drawn without repetition, or all where there are no more."""
    parts = {key: pairs for key, pairs in graph.triples.parts.items() if key[0] == TRAIN}
    sizes = [len(pairs) for pairs in parts.values()]
    total = sum(sizes)
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    starts = np.cumsum([0, *sizes])
    cuts = np.searchsorted(chosen, starts)
    kept = {}
    for (key, pairs), start, low, high in zip(parts.items(), starts[:-1], cuts[:-1], cuts[1:], strict=True):
        if low < high:
            at = chosen[low:high] - start
            kept[key] = pairs.at(at)
    return replace(graph, triples=TripleSet(kept))


def _rows(graph: Graph) -> torch.Tensor:
    """The train triples as (head, relation, tail), int64 (n, 3)."""
    parts = [
        np.stack([pairs.heads, np.full(len(pairs), relation), pairs.tails], axis=1)
        for (split, relation), pairs in graph.triples.parts.items()
        if split == TRAIN
    ]
    return torch.from_numpy(np.concatenate(parts))


def _as_it_comes(settings: TrainSettings) -> AbstractContextManager[None]:
    """Seed and threads as everywhere; no deterministic algorithms, which KGTrainer does not ask for."""
    return reproducible(settings, torch.device("cpu"))


def _now(device: torch.device) -> float:
    """Seconds, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()
