"""The plan of a training: from graph and settings to model, objective, step sizes and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation
from kgspark.kge.export.evaluation import evaluate, popularity
from kgspark.kge.export.facts import inform_movies
from kgspark.kge.export.recency import choose_recent_share, share_that_follows
from kgspark.kge.export.search_space import ranking_vectors, target_vectors
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.initial import initialise
from kgspark.kge.model.two_tower import build_model, metric_of
from kgspark.kge.objectives.objective import Objective, RateAt
from kgspark.kge.objectives.sampled import SampledObjective
from kgspark.kge.objectives.softmax import SoftmaxObjective
from kgspark.kge.settings import TrainSettings, may_encode
from kgspark.kge.training.warm_start import WarmStart
from kgspark.kge.workers import SINGLE, Workers
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
        recent_share: float | None = None,
        encoder: HistoryEncoder | None = None,
    ) -> dict[str, float]:
        """Metrics of the likes in `split`, with those of the splits `seen` in the histories and left out of the lists.

        recent_share  weight of the latest likes in a query; None for the value of the settings, where auto is 0; it is
                      also 0 as long as the encoder that it needs is not trained
        """
        settings = self.settings
        if encoder is None and settings.history.encoder == "sums":
            recent_share = 0.0
        if recent_share is not None:
            settings = settings.with_recent_share(recent_share)
        queries, items = ranking_vectors(model, self.graph, settings, seen, encoder)
        held_out, masked = self._held_out(split), self.graph.histories(self.target, seen)
        return evaluate(queries, items, metric_of(settings), held_out, masked, (settings.validation.k,), self.workers)

    @property
    def encodes(self) -> bool:
        """True if an encoder of histories is to be trained: validation can judge it, or the settings want it."""
        train = self.graph.histories(self.target)
        if not may_encode(self.settings) or train.times is None:
            return False
        return self.settings.export.recent_share != "auto" or share_that_follows(self._held_out(VALID), train) > 0.5

    def choose_recent_share(self, model: torch.nn.Module, encoder: HistoryEncoder | None) -> float:
        """The value of the settings; if that is auto, the best one for the validation likes.

        It is 0 if `encodes` says that an encoder cannot be judged.
        """
        settings, export, k = self.settings, self.settings.export, self.settings.validation.k
        if export.recent_share != "auto":
            return export.recent_share
        if encoder is None and settings.history.encoder == "sums":
            return 0.0
        queries, items = target_vectors(model, self.graph, settings)
        train, valid = self.graph.histories(self.target, (TRAIN,)), self._held_out(VALID)
        half_life = export.recent_half_life
        return choose_recent_share(queries, items, metric_of(settings), valid, train, half_life, k, encoder)

    def popularity(self) -> dict[str, float]:
        """Metrics on the test likes if every list holds the movies with the most train and valid likes."""
        seen, test = self.graph.histories(self.target, (TRAIN, VALID)), self._held_out(TEST)
        return popularity(
            seen, test, seen, self.graph.layout.count(self.target.tail_kind), (self.settings.validation.k,)
        )

    def _held_out(self, split: str) -> Histories:
        """The likes of a split to evaluate: those of at most `validation.users` users."""
        most = -(-self.settings.validation.users // self.workers.count)
        return self.graph.histories(self.target, (split,)).limit(most)
