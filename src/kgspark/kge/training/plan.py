"""The plan of a training: from graph and settings to model, objective, step sizes and evaluation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation
from kgspark.kge.export.evaluation import Measured, evaluate, measure, popularity
from kgspark.kge.export.facts import inform_movies
from kgspark.kge.export.past_weeks import PastWeeks
from kgspark.kge.export.recency import choose_recent_share, follow, known_before
from kgspark.kge.export.trend import trend_column, with_trend
from kgspark.kge.export.vectors import ranking_vectors, target_vectors
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.initial import initialise
from kgspark.kge.model.two_tower import build_model, metric_of
from kgspark.kge.objectives.objective import Objective, RateAt
from kgspark.kge.objectives.sampled import SampledObjective
from kgspark.kge.objectives.softmax import SoftmaxObjective
from kgspark.kge.settings import TrainSettings, may_encode, may_lean
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
        held_out, masked = self._held_out(split), self.graph.histories(self.target, seen)
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
        held_out, masked = self._held_out(split), self.graph.histories(self.target, seen)
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

    @property
    def encodes(self) -> bool:
        """True if an encoder of histories is to be trained: validation can judge it, or the settings want it."""
        train = self.graph.histories(self.target)
        if not may_encode(self.settings) or train.times is None:
            return False
        return self.settings.export.recent_share != "auto" or self._validation_follows

    @property
    def _validation_follows(self) -> bool:
        return follow(self._held_out(VALID), self.graph.histories(self.target))

    def choose(self, model: torch.nn.Module, encoder: HistoryEncoder | None) -> tuple[TrainSettings, dict[str, float]]:
        """The settings with a value for each part of `export` that is auto; and `PastWeeks.figures` if they chose.

        Validation likes choose the share of the latest likes, as long as they follow the others: see `encodes`. Else
        the past weeks do, as they choose the trend; then nothing is trained for it.
        """
        settings, export = self.settings, self.settings.export
        weeks = self._past_weeks(model)
        trend = None if weeks is None else weeks.choose_trend()
        settings = settings.with_export(**({"trend_weight": 0.0} if trend is None else asdict(trend)))
        share = 0.0
        if export.recent_share == "auto" and (encoder is not None or self._validation_follows):
            settings = settings.with_export(recent_share=self._choose_recent_share(model, encoder))
        elif export.recent_share == "auto":
            share = 0.0 if weeks is None else weeks.choose_recent_share(trend)
            settings = settings.with_export(recent_share=share)
            latest = settings.history.model_copy(update={"encoder": "latest"})
            settings = settings.model_copy(update={"history": latest}) if share else settings
        return settings, {} if weeks is None or not (share or trend) else weeks.figures(share, trend)

    def _choose_recent_share(self, model: torch.nn.Module, encoder: HistoryEncoder | None) -> float:
        settings = self.settings
        if encoder is None and settings.history.encoder != "latest":
            return 0.0
        queries, items = target_vectors(model, self.graph, settings)
        train, valid = self.graph.histories(self.target, (TRAIN,)), self._held_out(VALID)
        half_life, k = settings.export.recent_half_life, settings.validation.k
        return choose_recent_share(queries, items, metric_of(settings), valid, train, half_life, k, encoder)

    def _past_weeks(self, model: torch.nn.Module) -> PastWeeks | None:
        """The weeks up to the latest training like, with all likes up to then; None if there is nothing to choose.

        Later likes are those that the metrics ask for.
        """
        if self.settings.export.trend_weight == 0 and self.settings.export.recent_share != "auto":
            return None
        likes = self.graph.histories(self.target, (TRAIN, VALID, TEST))
        latest = self.graph.histories(self.target).times
        if not may_lean(self.settings) or likes.times is None or latest is None or not len(latest):
            return None
        queries, items = target_vectors(model, self.graph, self.settings)
        return PastWeeks(queries, items, likes.where(likes.times <= latest.max()), self.settings)

    def popularity(self) -> Measured:
        """What is measured on the test likes if every list has the movies with the most train and valid likes."""
        seen, test = self.graph.histories(self.target, (TRAIN, VALID)), self._held_out(TEST)
        return popularity(seen, test, seen, self.graph.layout.count(self.target.tail_kind), self.settings.validation.k)

    def _held_out(self, split: str) -> Histories:
        """The likes of a split to evaluate: those of at most `validation.users` users."""
        most = -(-self.settings.validation.users // self.workers.count)
        return self.graph.histories(self.target, (split,)).limit(most)
