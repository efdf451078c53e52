"""What a training is about: the graph, the relation to recommend from, and the settings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tgraphx.kg import models as zoo

from kgspark.graph.layout import EntityLayout
from kgspark.graph.shards import Csr, TripleSet
from kgspark.kge.export.evaluation import evaluate, popularity
from kgspark.kge.export.facts import inform_movies
from kgspark.kge.export.recency import best_share
from kgspark.kge.export.search_space import leaning_vectors, target_vectors
from kgspark.kge.model.initial import initialise
from kgspark.kge.model.models import build_model, metric_of
from kgspark.kge.objectives.objective import Objective, RateAt
from kgspark.kge.objectives.sampled import ContrastObjective
from kgspark.kge.objectives.softmax import SoftmaxObjective
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.warm_start import WarmStart
from kgspark.kge.workers import ALONE, Workers
from kgspark.tables import TEST, TRAIN, VALID, Relation


@dataclass(frozen=True)
class Graph:
    """Triples, layout, relations and settings; `target` is the relation that is recommended from.

    workers  those that train together; triples and layout are then this one's share
    """

    triples: TripleSet
    layout: EntityLayout
    relations: Sequence[Relation]
    settings: TrainSettings
    target: Relation
    workers: Workers = ALONE

    def new_model(self, splits: Sequence[str], device: torch.device, initial: WarmStart | None) -> zoo.KGScoringModel:
        """A model to start training from; of a spectral start, only the likes of `splits` are read."""
        model = build_model(self.settings, self.layout.size, len(self.relations))
        settings = self.settings
        if initial is not None and settings.init == "spectral":
            # The SVD's coordinates of a night are not those that yesterday's vectors were learned in.
            settings = settings.model_copy(update={"init": "normal"})
        initialise(model, self.triples, self.layout, self.relations, settings, splits)
        if initial is not None:
            initial.apply(model)
        return model.to(device)

    def rate_after(self, epochs: int) -> RateAt:
        """Step size in the epoch that follows `epochs` whole ones, by the share of it that is done."""
        settings = self.settings
        if settings.schedule == "constant":
            return lambda share: settings.learning_rate
        return lambda share: settings.learning_rate * max(0.0, 1 - (epochs + share) / settings.epochs)

    def inform(self, model: torch.nn.Module, splits: Sequence[str]) -> None:
        """Lets facts speak for movies with few likes in `splits`, in place."""
        inform_movies(model, self.triples, self.layout, self.relations, self.settings, self.target, splits)

    def measure(
        self, model: torch.nn.Module, split: str, seen: Sequence[str], recent_share: float | None = None
    ) -> dict[str, float]:
        """Metrics of the likes in `split`, with those of the splits `seen` left out of the lists.

        recent_share  how far queries lean towards the latest train likes; None for the settings' own, 0 if that is auto
        """
        settings = self.settings
        if recent_share is None:
            own = settings.export.recent_share
            recent_share = 0.0 if own == "auto" else own
        settings = settings.with_recent_share(recent_share)
        queries, items = leaning_vectors(model, self.triples, self.layout, self.target, settings, (TRAIN,))
        held_out, masked = self._held_out(split), self.triples.csr(self.target, self.layout, seen)
        return evaluate(queries, items, metric_of(settings), held_out, masked, (settings.validation.k,), self.workers)

    def recent_share(self, model: torch.nn.Module) -> float:
        """The settings' own, or where that is auto the one that suits the validation likes."""
        settings = self.settings
        export, k = settings.export, settings.validation.k
        if export.recent_share != "auto":
            return export.recent_share
        queries, items = target_vectors(model, self.layout, self.target, settings)
        train, valid = self.triples.csr(self.target, self.layout, (TRAIN,)), self._held_out(VALID)
        return best_share(queries, items, metric_of(settings), valid, train, export.recent_half_life, k)

    def popularity(self) -> dict[str, float]:
        """Metrics on the test likes of recommending everybody what most train and valid likes name."""
        seen, test = self.triples.csr(self.target, self.layout, (TRAIN, VALID)), self._held_out(TEST)
        return popularity(seen, test, seen, self.layout.count(self.target.tail_kind), (self.settings.validation.k,))

    def _held_out(self, split: str) -> Csr:
        """The likes of a split that are looked for: those of `validation.users` users at most."""
        share = -(-self.settings.validation.users // self.workers.count)
        return self.triples.csr(self.target, self.layout, (split,)).of_some(share)

    def objective(self, model: torch.nn.Module, splits: Sequence[str]) -> Objective:
        """What trains the model's weights on the triples of `splits`."""
        given = (model, self.triples, self.layout, self.relations, self.settings, splits)
        if self.settings.objective == "softmax":
            return SoftmaxObjective(*given, self.workers)
        return ContrastObjective(*given)
