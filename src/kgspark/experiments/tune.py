"""tune: a search for better settings, trial by trial, judged by validation likes alone."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgspark.errors import ConfigError, StageError
from kgspark.experiments import protocols
from kgspark.files import write_atomically
from kgspark.graph.graph import Graph
from kgspark.graph.shards import read_graph
from kgspark.kge.training.run_folder import Epoch
from kgspark.kge.training.training import train
from kgspark.night.night import Night
from kgspark.night.reads import entity_layout, relations_of
from kgspark.night.settings import NightSettings
from kgspark.report.progress import progress_bar
from kgspark.runs import locked
from kgspark.stages import clean_ratings, index_entities, write_triples
from kgspark.tables import TEST, TRIPLES, VALID
from kgspark.tuning.settings import Value
from kgspark.tuning.space import Changes, Space, as_number, relation_of

if TYPE_CHECKING:
    from kgspark.tuning.study import Report, Trial

BEST, TRIALS = "best.yaml", "trials.csv"
# A trial is judged before any refit, starts from nothing earlier, and is done again where it was cut off.
_TRIAL = {"refit": "none", "refit_on": "all", "checkpoint_every": 0, "warm_start": "none", "workers": 1}
# What another machine may do differently without being another search.
_MACHINE = {"device", "threads"}


def run(night: Night) -> dict[str, Any]:
    """Searches `tune.space` and leaves `best.yaml` and `trials.csv`; returns their content, which `--json` prints."""
    try:
        from kgspark.tuning.study import Search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ConfigError("tune needs the extra tune: pip install 'kgspark[tune]'") from None
    base = _base(night)
    space = _usable(night, base)
    fingerprint = _fingerprint(base, space)
    folder = night.run.lake / "tuning" / (night.settings.tune.name or fingerprint[:16])
    with locked(folder, "this search"):
        given = {key: base.settings.at(key) for key in space}
        search = Search(folder, space, night.settings.tune, given, fingerprint)
        earlier = len(search.trials())
        night.say(
            f"{'tune':<17}{'':>10}   {folder}: {earlier} of {night.settings.tune.trials} trials are there already"
        )
        search.run(Trainer(base, folder).train, lambda trial: _told(night, search.trials(), folder))
        return _result(night, search.trials(), folder)


def _base(night: Night) -> Night:
    """The night that trials are variants of, with its triples written: the night itself, or as the protocol has it."""
    settings = night.settings.evaluate
    if settings.protocol is None:
        base = night
        clean_ratings.run(night)
    else:
        base = protocols.evaluation_night(night, settings.protocol, settings.seeds[0])
        protocols.run(night, base, settings.protocol)
    index_entities.run(base)
    write_triples.run(base)
    return base


def _usable(night: Night, base: Night) -> Space:
    """The space without relations that the data lacks."""
    present = {relation.name for relation in relations_of(base)}
    space = night.settings.tune.space
    usable = {key: dimension for key, dimension in space.items() if relation_of(key) in {None, *present}}
    for key in (key for key in space if key not in usable):
        night.say(f"{'':<17}{'':>10}   {key} is left out: this data has no such relation")
    if not usable:
        raise ConfigError("tune.space: none of its relations is in this data, so there is nothing to search")
    return usable


def _fingerprint(base: Night, space: Space) -> str:
    """Hash of all that a trial's figure depends on, and of what is proposed."""
    tune = base.settings.tune
    parts = [
        base.run.manifest(TRIPLES).fingerprint,
        (base.settings.train.resolved().model_dump() | _TRIAL) | dict.fromkeys(_MACHINE),
        {key: dimension.model_dump() for key, dimension in space.items()},
        [tune.seed, tune.random, tune.prune_after],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_trial_graph(night: Night) -> Graph:
    """The graph of a night without the test likes: a trial cannot see what it must not be judged by.

    Raises StageError where the split leaves nothing to choose settings by.
    """
    graph = read_graph(night.run.table(TRIPLES), entity_layout(night), relations_of(night))
    if not len(graph.pairs(graph.relation(night.settings.train.target), (VALID,))):
        raise StageError(
            f"split.protocol={night.settings.split.protocol} leaves no validation likes to choose settings by"
        )
    return graph.without(TEST)


class Trainer:
    """Trains trials. Weights that are numbers are laid over triples in memory; SQL ones want triples of their own."""

    def __init__(self, base: Night, folder: Path) -> None:
        self._base, self._folder = base, folder
        self._read: tuple[Path, Graph] | None = None

    def train(self, changes: Changes, report: "Report") -> float:
        """The validation NDCG@k of the best epoch."""
        numbers, expressions = {}, {}
        for key, value in changes.items():
            if name := relation_of(key):
                weight = as_number(value)
                if isinstance(weight, str):
                    expressions[key] = weight
                else:
                    numbers[name] = weight
        graph = self._graph(self._base.settings.changed(expressions)).weighted(numbers)
        settings = self._base.settings.changed(changes).train.resolved().model_copy(update=_TRIAL)
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
        """The triples that `settings` make; only the latest ones are held."""
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


def _told(night: Night, trials: "list[Trial]", folder: Path) -> None:
    """Says the last trial, and leaves the files as they would be if the search ended here."""
    trial = trials[-1]
    what = {
        "complete": f"validation {_metric(night)} {trial.value or 0:.4f}",
        "pruned": f"stopped in epoch {trial.epochs}: below the median",
        "failed": f"failed: {trial.reason}",
    }[trial.state]
    changes = " ".join(f"{_short_key(key)}={_short_value(value)}" for key, value in trial.changes.items())
    given = "the settings given" if trial.number == 0 else changes
    night.say(f"{f'trial {trial.number}':<17}{trial.seconds:8.1f} s   {what}; {given}")
    _write(night, trials, folder)


def _write(night: Night, trials: "list[Trial]", folder: Path) -> None:
    from kgspark.tuning import results

    write_atomically(folder / TRIALS, results.trials_csv(trials, _metric(night)))
    if any(trial.value is not None for trial in trials):
        write_atomically(folder / BEST, results.best_yaml(trials, _metric(night)))


def _result(night: Night, trials: "list[Trial]", folder: Path) -> dict[str, Any]:
    """What `--json` prints; says the best trial, and StageError where there is none."""
    from kgspark.tuning import results
    from kgspark.tuning.study import best_of

    best = best_of(trials)
    _write(night, trials, folder)  # a kill may have come between a trial and its lines
    told = results.best_line(trials, _metric(night))
    night.say(f"{f'best of {len(trials)}':<17}{'':>10}   {told}; {folder / BEST}")
    return {
        "folder": str(folder),
        "metric": f"valid {_metric(night).lower()}",
        "best": best.to_json(),
        "lead": results.lead(trials),
        "trials": [trial.to_json() for trial in trials],
    }


def _metric(night: Night) -> str:
    return f"NDCG@{night.settings.train.validation.k}"


def _short_key(key: str) -> str:
    return relation_of(key) or key.removeprefix("train.")


def _short_value(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
