"""Trains a model on a graph: epochs, early stopping on the validation likes, checkpoints, and the final refit."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.kge.device import pick_device, reproducible
from kgspark.kge.export.evidence import evidence_of
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training import checkpoints, memory
from kgspark.kge.training.choices import choose
from kgspark.kge.training.distributed import Team
from kgspark.kge.training.epochs import Progress, run_epochs
from kgspark.kge.training.histories import continue_on, train_encoder
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.run_folder import Epoch, RunFolder
from kgspark.kge.training.side_relations import SideRelations, choose_side_relations
from kgspark.kge.training.state import TrainingState
from kgspark.kge.training.temperature import choose_temperature
from kgspark.kge.training.warm_start import WarmStart
from kgspark.metrics.groups import Groups
from kgspark.tables import TEST, TRAIN, VALID

# The step size of a refit's single epoch, relative to `learning_rate`: good weights need smaller steps.
_CONTINUED_RATE = 0.5


@dataclass(frozen=True)
class Trained:
    """The results of a training.

    model         the published weights: those of the best epoch, refitted unless `refit` is none
    measured      the weights that `valid` and `test` were measured with: `model` itself without a refit. They have not
                  learned the held-out likes, so evaluations use them, and tomorrow's training starts from them
    encoder, measured_encoder    of the histories, for `model` and `measured`; None if queries do not need one
    evidence, measured_evidence  what the vectors of `model` and `measured` were trained on (see `export.evidence`)
    settings      the given ones, with the values that training chose for the parts of `export` that were auto
    side_relations  whether these were learned (see `training.side_relations`)
    temperature   what a softer softmax was worth (see `training.temperature`); {} if it was not tried
    valid, test   metrics of the best epoch, before any refit: train likes are left out of the lists for valid,
                  train and valid likes for test; {} where nothing was held out
    past_weeks    what the trend and the latest likes were worth in the weeks that chose them (see `export.past_weeks`);
                  {} if neither was chosen there
    later_days    what asking for a time was worth for validation likes of a later day (see `export.when`); {} if it was
                  not judged
    popularity    metrics on the test likes if every list holds the movies with the most train and valid likes
    groups        of `model` and `popularity`: the test metrics of groups of users and movies (see `metrics.groups`)
    seconds       wall-clock of initialisation, training and measuring
    resumed_from  the epoch of the checkpoint that training resumed from, 0 if it started anew
    """

    model: torch.nn.Module
    measured: torch.nn.Module
    encoder: HistoryEncoder | None
    measured_encoder: HistoryEncoder | None
    evidence: np.ndarray
    measured_evidence: np.ndarray
    settings: TrainSettings
    history: tuple[Epoch, ...]
    best_epoch: int
    stopped_early: bool
    refitted: bool
    side_relations: SideRelations
    temperature: dict[str, float]
    valid: dict[str, float]
    test: dict[str, float]
    past_weeks: dict[str, float]
    later_days: dict[str, float]
    popularity: dict[str, float]
    groups: dict[str, Groups]
    seconds: float
    device: str
    resumed_from: int

    def to_json(self) -> dict[str, Any]:
        """The figures, for `run.json` and manifests."""
        names = (
            "best_epoch",
            "stopped_early",
            "refitted",
            "valid",
            "test",
            "past_weeks",
            "later_days",
            "popularity",
            "seconds",
            "resumed_from",
        )
        figures = {name: getattr(self, name) for name in names} | {"side_relations": self.side_relations.to_json()}
        figures["temperature"] = {"chosen": self.settings.temperature, **self.temperature} if self.temperature else {}
        export = self.settings.export
        chosen = {name: getattr(export, name) for name in ("recent_share", "trend_weight", "trend_half_life", "when")}
        return {"epochs": len(self.history), **chosen, **figures}


def train(
    graph: Graph,
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
    initial: WarmStart | None = None,
    team: Team | None = None,
) -> Trained:
    """Trains, writing metrics and checkpoints into the existing `folder`, and resumes an interrupted training there.

    The same seed, settings, data and machine give the same weights on a CPU, byte for byte, even if the training was
    killed and resumed.

    team  runs the epochs if `settings.workers` is more than 1; everything else, also a refit, runs in this process

    Raises StageError if the target relation has no train triples, or memory is too small. An exception from
    `progress` ends the training.
    """
    begun = perf_counter()
    settings = memory.resolve_negatives(settings, graph.layout, graph.relations, len(graph))
    plan = TrainingPlan(graph, settings)
    _check(plan, team)
    device = pick_device(settings)
    with reproducible(settings, device):
        learned, side_relations = choose_side_relations(plan, device, initial)
        plan = replace(plan, graph=learned)
        settings, temperature = choose_temperature(plan, device, initial)
        plan = replace(plan, settings=settings)
        model = plan.new_model((TRAIN,), device, initial)
        state = TrainingState(model, plan.objective(model, (TRAIN,)), settings)
        run, resumed_from = _train_epochs(plan, state, folder, device, progress, team)
        state.take_best()
        measured = copy.deepcopy(model) if settings.refit == "continue" else model
        plan.inform(measured, (TRAIN,))
        chosen = choose(plan, measured, initial)
        valid = plan.evaluate(measured, VALID, (TRAIN,), chosen.settings, chosen.encoder)
        test = plan.measure(measured, TEST, (TRAIN, VALID), chosen.settings, chosen.encoder)
        popular = plan.popularity()
        model = _refit(plan, model, state.best_epoch, device, initial)
        encoder = _refit_encoder(plan, model, chosen.encoder, initial)
    trained = Trained(
        model=model,
        measured=measured,
        encoder=encoder,
        measured_encoder=chosen.encoder,
        evidence=evidence_of(graph, settings, settings.learned_splits),
        measured_evidence=evidence_of(graph, settings, (TRAIN,)),
        settings=chosen.settings,
        history=tuple(state.history),
        best_epoch=state.best_epoch,
        stopped_early=state.epoch < settings.epochs,
        refitted=settings.refit != "none",
        side_relations=side_relations,
        temperature=temperature,
        valid=valid,
        test=test.figures,
        past_weeks=chosen.past_weeks,
        later_days=chosen.later_days,
        popularity=popular.figures,
        groups={"model": test.groups, "popularity": popular.groups},
        seconds=perf_counter() - begun,
        device=str(device),
        resumed_from=resumed_from,
    )
    run.finish(trained.to_json())
    return trained


def _check(plan: TrainingPlan, team: Team | None) -> None:
    """Raises StageError if the training cannot succeed."""
    graph, settings = plan.graph, plan.settings
    if not len(graph.pairs(plan.target)):
        raise StageError(f"train.target: {settings.target!r} has no train triples; is the liking threshold too high?")
    if settings.workers > 1 and team is None:
        raise StageError("train.workers: only train-embeddings can start more than one; set it to 1 here")
    memory.check(memory.estimate(settings, graph.layout, graph.relations, len(graph)))


def _train_epochs(
    plan: TrainingPlan,
    state: TrainingState,
    folder: Path,
    device: torch.device,
    progress: Progress | None,
    team: Team | None,
) -> tuple[RunFolder, int]:
    """Trains `state` to the last epoch; returns the run folder, and the epoch that training resumed from."""
    settings, fingerprint = plan.settings, ""
    if settings.checkpoint_every or settings.workers > 1:
        fingerprint = checkpoints.fingerprint(plan.graph, settings, state.tables)
        state.resume(checkpoints.load(folder, fingerprint))
    resumed_from = state.epoch
    if team is not None and settings.workers > 1:
        team.train(folder, state, plan.graph, fingerprint)
    with RunFolder(folder, settings, str(device), state.history) as run:
        # A team has run all epochs already.
        run_epochs(plan, state, run.log, lambda: checkpoints.save(folder, state.checkpoint(fingerprint)), progress)
    return run, resumed_from


def _refit(
    plan: TrainingPlan, model: torch.nn.Module, best_epoch: int, device: torch.device, initial: WarmStart | None
) -> torch.nn.Module:
    """The weights after learning the held-out likes too, which have been evaluated by now; facts are blended in."""
    settings = plan.settings
    if settings.refit == "none":
        return model
    if settings.refit == "continue":
        _continue_on_all(plan, model)
    else:
        model = _train_anew(plan, best_epoch, device, initial)
    plan.inform(model, settings.learned_splits)
    return model


def _refit_encoder(
    plan: TrainingPlan, model: torch.nn.Module, encoder: HistoryEncoder | None, initial: WarmStart | None
) -> HistoryEncoder | None:
    """The encoder for the refitted model, after learning the held-out likes too."""
    refit, splits = plan.settings.refit, plan.settings.learned_splits
    if encoder is None or refit == "none":
        return encoder
    if refit == "anew":
        return train_encoder(plan, model, splits, initial)
    return continue_on(plan, model, encoder, splits)


def _continue_on_all(plan: TrainingPlan, model: torch.nn.Module) -> None:
    """One more epoch of the model on `settings.learned_splits`, at half the step size, falling to zero."""
    settings = plan.settings
    objective = plan.objective(model, settings.learned_splits)
    rate = _CONTINUED_RATE * settings.learning_rate
    # A number after those of the training, so that no epoch's shuffle is repeated.
    objective.epoch(settings.epochs + 1, lambda done: rate * (1 - done))


def _train_anew(plan: TrainingPlan, epochs: int, device: torch.device, initial: WarmStart | None) -> torch.nn.Module:
    """A new model, trained on `settings.learned_splits` for the number of epochs that was best by validation."""
    splits = plan.settings.learned_splits
    model = plan.new_model(splits, device, initial)
    state = TrainingState(model, plan.objective(model, splits), plan.settings)
    for number in range(epochs):
        state.objective.epoch(number + 1, plan.rate_after(number))
        state.average_weights(number)
    state.take_average()
    return model
