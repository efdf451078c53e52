"""tgraphx's own trainer as a contestant."""

from contextlib import AbstractContextManager

import torch
from tgraphx.kg.sampling import FilteredNegativeSampler, UniformNegativeSampler
from tgraphx.kg.trainer import KGTrainer, KGTrainingConfig

from kgspark.bench.training.clock import now
from kgspark.bench.training.triples import train_rows
from kgspark.graph.graph import Graph
from kgspark.kge.device import pick_device, reproducible
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.plan import TrainingPlan
from kgspark.tables import TRAIN


class KGTrainerEpochs:
    """tgraphx's unchanged KGTrainer: softplus loss, one negative per positive, Adam, and its own samplers."""

    def __init__(self, graph: Graph, settings: TrainSettings, known: Graph | None = None) -> None:
        """Trains the train split of `graph`; negatives are uniform; with `known`, no negative is a triple of it."""
        self.settings, self.device = settings, pick_device(settings)
        self.rows = train_rows(graph)
        self.triples = len(self.rows)
        self.losses: list[float] = []
        with _seed(settings):
            self.model = TrainingPlan(graph, settings).new_model((TRAIN,), self.device, None)
        # KGTrainer makes the same uniform sampler itself, but only for models with one table of entities.
        self.sampler = UniformNegativeSampler(graph.layout.size, 1)
        if known is not None:
            self.sampler = FilteredNegativeSampler(graph.layout.size, 1, set(map(tuple, train_rows(known).tolist())))

    def epoch(self) -> float:
        """Trains two epochs and returns the seconds of the second: the first creates Adam's moments."""
        stamps: list[float] = []
        config = KGTrainingConfig(
            batch_size=self.settings.batch_size,
            num_negatives=1,
            loss_type="softplus",
            lr=self.settings.learning_rate,
            seed=self.settings.seed,
            device=str(self.device),
        )
        with _seed(self.settings):
            trainer = KGTrainer(
                self.model,
                config,
                self.rows,
                sampler=self.sampler,
                on_epoch_end=lambda *_: stamps.append(now(self.device)),
            )
            self.losses += trainer.fit(epochs=2)["loss_history"]
        return stamps[1] - stamps[0]


def stock_settings(settings: TrainSettings, batch_size: int) -> TrainSettings:
    """KGTrainer's loss and negatives with `settings`' model, dimension, device, threads and seed."""
    same = {name: getattr(settings, name) for name in ("model", "norm", "dim", "target", "device", "threads", "seed")}
    return TrainSettings.model_validate({**same, "objective": "softplus", "batch_size": batch_size})


def _seed(settings: TrainSettings) -> AbstractContextManager[None]:
    """Seed and threads as in all trainings, but no deterministic algorithms, because KGTrainer does not use them."""
    return reproducible(settings, torch.device("cpu"))
