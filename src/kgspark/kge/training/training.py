"""Trains a model on a triple set: epochs, early stopping on the validation likes, checkpoints, and the final refit."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from kgspark.errors import StageError
from kgspark.graph.layout import EntityLayout
from kgspark.graph.shards import TripleSet
from kgspark.kge.device import pick_device, reproducible
from kgspark.kge.export.search_space import target_relation
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training import checkpoints, memory
from kgspark.kge.training.distributed import Team
from kgspark.kge.training.epochs import Progress, run_epochs
from kgspark.kge.training.fitting import fitted
from kgspark.kge.training.plan import Graph
from kgspark.kge.training.refit import continue_on_all, train_anew
from kgspark.kge.training.run_folder import Epoch, RunFolder
from kgspark.kge.training.state import TrainingState
from kgspark.kge.training.warm_start import WarmStart
from kgspark.tables import TEST, TRAIN, VALID, Relation


@dataclass(frozen=True)
class Trained:
    """What a training arrived at.

    model         the published weights: those of the best epoch, refitted where `refit` says so
    measured      the weights that `valid` and `test` were taken of: `model` itself without a refit. They have seen no
                  held-out like, so they are what to evaluate and what tomorrow starts from
    settings      those given, with what training chose in the place of auto: `export.recent_share`
    valid, test   metrics of the best epoch, before any refit: train likes are left out of the lists for valid,
                  train and valid likes for test; {} where nothing was held out
    popularity    metrics on the test likes of recommending everybody what most train and valid likes name
    seconds       wall-clock of initialisation, training and measuring
    resumed_from  the epoch of the checkpoint that training went on from, 0 where it started afresh
    """

    model: torch.nn.Module
    measured: torch.nn.Module
    settings: TrainSettings
    history: tuple[Epoch, ...]
    best_epoch: int
    stopped_early: bool
    refitted: bool
    valid: dict[str, float]
    test: dict[str, float]
    popularity: dict[str, float]
    seconds: float
    device: str
    resumed_from: int

    def to_json(self) -> dict[str, Any]:
        """The figures, for `run.json` and manifests."""
        names = ("best_epoch", "stopped_early", "refitted", "valid", "test", "popularity", "seconds", "resumed_from")
        figures = {name: getattr(self, name) for name in names}
        return {"epochs": len(self.history), "recent_share": self.settings.export.recent_share, **figures}


def train(
    triples: TripleSet,
    layout: EntityLayout,
    relations: Sequence[Relation],
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
    initial: WarmStart | None = None,
    team: Team | None = None,
) -> Trained:
    """Trains, writing metrics and checkpoints into the existing `folder`, and takes up an interrupted training there.

    With one seed, settings, data and machine, weights on a CPU come out byte for byte the same, killed and resumed
    or not.

    team  who runs the epochs where `settings.workers` is more than 1; all else, a refit too, is done here
    Raises StageError where the target relation has no train triples, or memory does not suffice. What
    `progress` raises ends the training and is passed on.
    """
    begun = perf_counter()
    settings = fitted(settings, layout, relations, len(triples))
    graph = Graph(triples, layout, relations, settings, target_relation(relations, settings))
    if not len(triples.pairs(graph.target.index)):
        raise StageError(f"train.target: {settings.target!r} has no train triples; is the liking threshold too high?")
    memory.check(memory.estimate(settings, layout, relations, len(triples)))
    device = pick_device(settings)
    with reproducible(settings, device):
        model = graph.new_model((TRAIN,), device, initial)
        state = TrainingState(model, graph.objective(model, (TRAIN,)), settings)
        fingerprint = ""
        if settings.checkpoint_every or settings.workers > 1:
            fingerprint = checkpoints.fingerprint(triples, layout, relations, settings, state.tables)
            state.resume(checkpoints.load(folder, fingerprint))
        resumed_from = state.epoch
        if settings.workers > 1:
            if team is None:
                raise StageError("train.workers: only train-embeddings can start more than one; set it to 1 here")
            team.train(folder, state, layout, relations, fingerprint)
        with RunFolder(folder, settings, str(device), state.history) as run:
            # A team leaves nothing to do here.
            run_epochs(graph, state, run.log, lambda: checkpoints.save(folder, state.checkpoint(fingerprint)), progress)
        state.take_best()
        measured = copy.deepcopy(model) if settings.refit == "continue" else model
        graph.inform(measured, (TRAIN,))
        share = graph.recent_share(measured)
        looks = ((VALID, (TRAIN,)), (TEST, (TRAIN, VALID)))
        valid, test = (graph.measure(measured, split, seen, share) for split, seen in looks)
        if settings.refit == "continue":
            continue_on_all(graph, model)
        elif settings.refit == "anew":
            model = train_anew(graph, state.best_epoch, device, initial)
        if model is not measured:
            graph.inform(model, settings.learned_splits)
    trained = Trained(
        model=model,
        measured=measured,
        settings=settings.with_recent_share(share),
        history=tuple(state.history),
        best_epoch=state.best_epoch,
        stopped_early=state.epoch < settings.epochs,
        refitted=settings.refit != "none",
        valid=valid,
        test=test,
        popularity=graph.popularity(),
        seconds=perf_counter() - begun,
        device=str(device),
        resumed_from=resumed_from,
    )
    run.finish(trained.to_json())
    return trained
