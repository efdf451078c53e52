"""Serves an earlier model under today's numbering, without training: `train.epochs=0`.

Vectors are joined by id. Users and movies that arrived after the training have no vector of their own: those with facts
get the vector that facts predict, the others are marked as `average` in the search space, and are not ranked by it.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation
from kgspark.kge.device import pick_device, reproducible
from kgspark.kge.export.evaluation import Measured, measure, popularity
from kgspark.kge.export.evidence import LIKES
from kgspark.kge.export.facts import place_new_movies
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.two_tower import build_model, parameters_by_table
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.side_relations import SideRelations
from kgspark.kge.training.training import Trained
from kgspark.kge.training.warm_start import WarmStart
from kgspark.tables import AVERAGE, SOURCES, TEST, TRAIN, VALID


def serve(graph: Graph, settings: TrainSettings, model: WarmStart, measured: WarmStart | None) -> Trained:
    """The earlier model with today's rows. Its metrics are those of today's held-out likes.

    Only users whom the model was trained on are measured, since the others get no list from it. The settings are those
    of the training, but those of `export`, `validation` and the machine are today's.

    model, measured  carried over from the published weights, and from those before the refit; None if they are the same

    Raises StageError if the earlier model cannot recommend by today's target, or knows no user or movie of today.
    """
    begun, device = perf_counter(), pick_device(settings)
    for start in filter(None, (model, measured)):
        _check(graph, settings, start)
    settings = _serving_settings(settings, model)
    with reproducible(settings, device):
        served = _load(graph, settings, model, device)
        before_refit = settings.model_copy(update={"refit": "none"})
        unrefitted = served if measured is None else _load(graph, before_refit, measured, device)
        encoder = _load_encoder(graph, settings, model)
        unrefitted_encoder = encoder if measured is None else _load_encoder(graph, before_refit, measured)
        evidence = (measured or model).evidence
        figures = _Figures(graph, before_refit, unrefitted, evidence, unrefitted_encoder)
        test, popular = figures.of_model(TEST, (TRAIN, VALID)), figures.of_popularity()
        return Trained(
            model=served,
            measured=unrefitted,
            evidence=model.evidence,
            measured_evidence=evidence,
            encoder=encoder,
            measured_encoder=unrefitted_encoder,
            settings=settings,
            history=(),
            best_epoch=0,
            stopped_early=False,
            refitted=measured is not None,
            side_relations=SideRelations((), True, {}),
            temperature={},
            valid=figures.of_model(VALID, (TRAIN,)).figures,
            test=test.figures,
            past_weeks={},
            later_days={},
            popularity=popular.figures,
            groups={"model": test.groups, "popularity": popular.groups},
            seconds=perf_counter() - begun,
            device=str(device),
            resumed_from=0,
        )


def _serving_settings(today: TrainSettings, model: WarmStart) -> TrainSettings:
    """The settings of the training, with today's for what is done without training."""
    export, trained = today.export, model.settings
    chosen = ("recent_share", "trend_weight", "trend_half_life", "when")
    export = export.model_copy(
        update={name: getattr(trained.export, name) for name in chosen if getattr(export, name) == "auto"}
    )
    same = {"export": export, "validation": today.validation, "device": today.device, "threads": today.threads}
    history = trained.history if model.encoder else trained.history.model_copy(update={"encoder": "latest"})
    return trained.model_copy(update={**same, "history": history})


def _check(graph: Graph, settings: TrainSettings, carried: WarmStart) -> None:
    target, trained = graph.relation(settings.target), carried.settings.target
    if target.name != trained:
        raise StageError(f"train.epochs=0: the model to serve recommends by {trained!r}, not {target.name!r}")
    for kind in (target.head_kind, target.tail_kind):
        if not (carried.evidence[slice(*graph.layout.range(kind))] == LIKES).any():
            raise StageError(
                f"train.epochs=0: the model to serve knows no {kind} of this night, or is of an earlier version; "
                "train a new one"
            )


def _load(graph: Graph, settings: TrainSettings, carried: WarmStart, device: torch.device) -> torch.nn.Module:
    """The model with the carried rows; rows without training are zeros, but movies get a vector from their facts."""
    model = build_model(settings, graph.layout.size, len(graph.relations))
    for table in parameters_by_table(model).values():
        table.zero_()
    carried.apply(model)
    model = model.to(device)
    place_new_movies(model, graph, settings, settings.learned_splits, carried.evidence)
    return model


def _load_encoder(graph: Graph, settings: TrainSettings, carried: WarmStart) -> HistoryEncoder | None:
    """The encoder with the carried rows, and those of untrained movies for all others."""
    if carried.encoder is None:
        return None
    movies = graph.layout.count(graph.relation(settings.target).tail_kind)
    return carried.encoder.among(carried.movies, movies).to(pick_device(settings))


@dataclass(frozen=True)
class _Figures:
    """Metrics on the held-out likes of the users with learned vectors, by weights that have not learned these likes."""

    graph: Graph
    settings: TrainSettings
    model: torch.nn.Module
    evidence: np.ndarray
    encoder: HistoryEncoder | None

    @property
    def target(self) -> Relation:
        """The relation to recommend by."""
        return self.graph.relation(self.settings.target)

    def of_model(self, split: str, seen: tuple[str, ...]) -> Measured:
        """What is measured of the likes in `split`; those of `seen` are in the histories, and left out of the lists."""
        space = export_search_space(self.model, self.graph, self.settings, self.evidence, self.encoder, seen)
        device = pick_device(self.settings)
        queries, items = (torch.from_numpy(vectors).to(device) for vectors in (space.queries, space.items))
        offered = np.flatnonzero(space.item_sources != SOURCES.index(AVERAGE))
        masked, k = self.graph.histories(self.target, seen), self.settings.validation.k
        return measure(queries, items, space.metric, self._held_out(split), masked, k, offered)

    def of_popularity(self) -> Measured:
        """What is measured on the test likes if every list has the movies with the most train and valid likes."""
        seen, width = self.graph.histories(self.target, (TRAIN, VALID)), self.graph.layout.count(self.target.tail_kind)
        return popularity(seen, self._held_out(TEST), seen, width, self.settings.validation.k)

    def _held_out(self, split: str) -> Histories:
        likes = self.graph.histories(self.target, (split,))
        learned = self.evidence[slice(*self.graph.layout.range(self.target.head_kind))] == LIKES
        return likes.where(learned[likes.rows()]).limit(self.settings.validation.users)
