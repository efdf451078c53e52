"""The plan of a training: from graph and settings to model, objective, step sizes and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation
from kgspark.kge.export.evaluation import Measured, evaluate, measure, popularity
from kgspark.kge.export.facts import inform_movies
from kgspark.kge.export.recency import known_before
from kgspark.kge.export.trend import trend_column, with_trend
from kgspark.kge.export.vectors import ranking_vectors
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.initial import initialise
from kgspark.kge.model.two_tower import build_model
from kgspark.kge.objectives.objective import Objective, RateAt
from kgspark.kge.objectives.sampled import SampledObjective
from kgspark.kge.objectives.softmax import SoftmaxObjective
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.warm_start import WarmStart
from kgspark.kge.workers import SINGLE, Workers
from kgspark.search_space import Metric
from kgspark.tables import TEST, TRAIN, VALID


@dataclass(frozen=True)
class TrainingPlan:
    """The graph and the settings of a training.

    workers  the processes that train together; `graph` is the part of this one
    """

    graph: Graph
    settings: TrainSettings
    workers: Workers = SINGLE

    @property
    def target(self) -> Relation:
        """The relation to recommend from; StageError if the graph does not have it."""
        return self.graph.relation(self.settings.target)

    def new_model(self, splits: Sequence[str], device: torch.device, initial: WarmStart | None) -> torch.nn.Module:
        """A model to start training from; a spectral start reads the likes of `splits` alone."""
        model = build_model(self.settings, self.graph.layout.size, len(self.graph.relations))
        settings = self.settings
        if initial is not None and settings.init == "spectral":
            # Yesterday's vectors do not have the coordinates of today's SVD.
            settings = settings.model_copy(update={"init": "normal"})
        initialise(model, self.graph, settings, splits)
        if initial is not None:
            initial.apply(model)
        return model.to(device)

    def objective(self, model: torch.nn.Module, splits: Sequence[str]) -> Objective:
        """The objective that trains the model's weights on the triples of `splits`."""
        if self.settings.objective == "softmax":
            return SoftmaxObjective(model, self.graph, self.settings, splits, self.workers)
        return SampledObjective(model, self.graph, self.settings, splits)

    def rate_after(self, epochs: int) -> RateAt:
        """The step size in the epoch after `epochs` complete ones, as a function of the fraction of it that is done."""
        settings = self.settings
        if settings.schedule == "constant":
            return lambda done: settings.learning_rate
        return lambda done: settings.learning_rate * max(0.0, 1 - (epochs + done) / settings.epochs)

    def inform(self, model: torch.nn.Module, splits: Sequence[str]) -> None:
        """Blends the facts of movies with few likes in `splits` into their vectors, in place."""
        inform_movies(model, self.graph, self.settings, splits)

    def evaluate(
        self,
        model: torch.nn.Module,
        split: str,
        seen: Sequence[str],
        chosen: TrainSettings | None = None,
        encoder: HistoryEncoder | None = None,
    ) -> dict[str, float]:
        """Metrics of the likes in `split`, with those of the splits `seen` in the histories and left out of the lists.

        chosen  the settings with the values that training chose for auto; None as long as it has not: then nothing is
                added to the model's scores that is trained or chosen after it
        """
        held_out, masked = self.held_out(split), self.graph.histories(self.target, seen)
        space = self._space(model, held_out, masked, seen, chosen, encoder)
        return evaluate(*space, held_out, masked, (self.settings.validation.k,), self.workers)

    def measure(
        self,
        model: torch.nn.Module,
        split: str,
        seen: Sequence[str],
        chosen: TrainSettings,
        encoder: HistoryEncoder | None,
    ) -> Measured:
        """The same metrics as `evaluate`, and those of groups; in one process."""
        held_out, masked = self.held_out(split), self.graph.histories(self.target, seen)
        space = self._space(model, held_out, masked, seen, chosen, encoder)
        return measure(*space, held_out, masked, self.settings.validation.k)

    def _space(
        self,
        model: torch.nn.Module,
        held_out: Histories,
        masked: Histories,
        seen: Sequence[str],
        chosen: TrainSettings | None,
        encoder: HistoryEncoder | None,
    ) -> tuple[torch.Tensor, torch.Tensor, Metric]:
        settings = self._before_choices() if chosen is None else known_before(chosen, held_out, masked)
        queries, items, metric = ranking_vectors(model, self.graph, settings, seen, encoder)
        return with_trend(queries, items, metric, trend_column(settings, masked, len(items)))

    def _before_choices(self) -> TrainSettings:
        trained = self.settings.history.encoder != "latest"
        return self.settings.with_export(recent_share=0.0) if trained else self.settings

    def popularity(self) -> Measured:
        """What is measured on the test likes if every list has the movies with the most train and valid likes."""
        seen, test = self.graph.histories(self.target, (TRAIN, VALID)), self.held_out(TEST)
        return popularity(seen, test, seen, self.graph.layout.count(self.target.tail_kind), self.settings.validation.k)

    def held_out(self, split: str) -> Histories:
        """The likes of a split to evaluate: those of at most `validation.users` users."""
        most = -(-self.settings.validation.users // self.workers.count)
        return self.graph.histories(self.target, (split,)).limit(most)
