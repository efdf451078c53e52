"""The training of one trial of a search: with some settings changed, and without the test likes."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from kgspark.errors import StageError
from kgspark.experiments import protocols
from kgspark.graph.graph import Graph
from kgspark.kge.training.run_folder import Epoch
from kgspark.kge.training.training import train
from kgspark.night.night import Night
from kgspark.night.reads import knowledge_graph
from kgspark.night.settings import NightSettings
from kgspark.report.progress import progress_bar
from kgspark.stages import index_entities, write_triples
from kgspark.tables import TEST, VALID
from kgspark.tuning.space import Changes, as_number, relation_of

if TYPE_CHECKING:
    from kgspark.tuning.study import Report

# A trial is evaluated before any refit, does not start from an earlier model, and is repeated if interrupted.
TRIAL = {"refit": "none", "refit_on": "all", "checkpoint_every": 0, "warm_start": "none", "workers": 1}


class Trainer:
    """Trains trials. Numeric weights are applied in memory; for SQL weights the triples are written again."""

    def __init__(self, base: Night, folder: Path) -> None:
        self._base, self._folder = base, folder
        self._read: tuple[Path, Graph] | None = None

    def train(self, changes: Changes, report: "Report") -> float:
        """The validation NDCG@k of the best epoch."""
        numbers, expressions = _weights(changes)
        graph = self._graph(self._base.settings.changed(expressions)).weighted(numbers)
        settings = self._base.settings.changed(changes).train.resolved().model_copy(update=TRIAL)
        scratch = self._folder / "training"
        scratch.mkdir(exist_ok=True)
        with progress_bar("trial", settings.epochs) as advance:

            def progress(epoch: Epoch) -> None:
                advance(f"loss {epoch.train_loss:.4f}")
                if epoch.ndcg is not None:
                    report(epoch.epoch, settings.epochs, epoch.ndcg)

            trained = train(graph, settings, scratch, progress)
        return trained.valid[f"ndcg@{settings.validation.k}"]

    def _graph(self, settings: NightSettings) -> Graph:
        """The triples for `settings`; only the latest triples stay in memory."""
        night = self._base
        if settings.relations != night.settings.relations:
            weights = {name: relation.weight for name, relation in settings.relations.items()}
            digest = hashlib.sha256(json.dumps(weights).encode()).hexdigest()[:16]
            lake = self._folder / "weights" / digest
            night = night.variant(settings.model_copy(update={"lake": lake, "train": self._base.settings.train}))
        if self._read is None or self._read[0] != night.run.lake:
            if night is not self._base:
                protocols.link(self._base, night)
                index_entities.run(night)
                write_triples.run(night)
            self._read = night.run.lake, read_trial_graph(night)
        return self._read[1]


def read_trial_graph(night: Night) -> Graph:
    """The graph of a night without the test likes, so that they cannot decide a trial.

    Raises StageError if the split leaves no validation likes.
    """
    graph = knowledge_graph(night)
    if not len(graph.pairs(graph.relation(night.settings.train.target), (VALID,))):
        raise StageError(
            f"split.protocol={night.settings.split.protocol} leaves no validation likes to choose settings by"
        )
    return graph.without(TEST)


def _weights(changes: Changes) -> tuple[dict[str, float], Changes]:
    """The changes of weights: numbers by relation, and SQL expressions by dotted key."""
    numbers, expressions = {}, {}
    for key, value in changes.items():
        if name := relation_of(key):
            weight = as_number(value)
            if isinstance(weight, str):
                expressions[key] = weight
            else:
                numbers[name] = weight
    return numbers, expressions
