"""tune: a search for better settings, trial by trial, by validation likes alone."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgspark.errors import ConfigError, ResourceError
from kgspark.experiments import protocols
from kgspark.experiments.trials import TRIAL, Trainer
from kgspark.locks import locked
from kgspark.night.night import Night
from kgspark.night.reads import relations_of
from kgspark.stages import clean_ratings, index_entities, write_triples
from kgspark.tables import TRIPLES
from kgspark.tuning.space import Space, relation_of

if TYPE_CHECKING:
    from kgspark.tuning.study import Trial

# Keys outside of the fingerprint, so that another machine may continue the search.
_MACHINE = {"device", "threads"}


def run(night: Night) -> dict[str, Any]:
    """Searches `tune.space` and writes `best.yaml` and `trials.csv`; returns their content, which `--json` prints."""
    try:
        from kgspark.tuning.study import Search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ResourceError("tune needs the extra tune: pip install 'kgspark[tune]'") from None
    base = _base(night)
    space = _usable_space(night, base)
    fingerprint = _fingerprint(base, space)
    folder = night.run.lake / "tuning" / (night.settings.tune.name or fingerprint[:16])
    with locked(folder, "this search"):
        given = {key: base.settings.at(key) for key in space}
        search = Search(folder, space, night.settings.tune, given, fingerprint)
        earlier = len(search.trials())
        night.note(f"{folder}: {earlier} of {night.settings.tune.trials} trials are there already", "tune")
        search.run(Trainer(base, folder).train, lambda trial: _report(night, search.trials(), folder))
        return _answer(night, search.trials(), folder)


def _base(night: Night) -> Night:
    """The night that trials vary, with its triples written: the night itself, or the protocol's variant of it."""
    settings = night.settings.evaluate
    if settings.protocol == "nights":
        raise ConfigError(
            "evaluate.protocol: the likes after a night cannot choose settings, because they judge them; set it to "
            "null, to tune by the night's own split, or to another protocol"
        )
    if settings.protocol is None:
        base = night
        clean_ratings.run(night)
    else:
        base = protocols.evaluation_night(night, settings.protocol, settings.seeds[0])
        protocols.run(night, base, settings.protocol)
    index_entities.run(base)
    write_triples.run(base)
    return base


def _usable_space(night: Night, base: Night) -> Space:
    """The space without the relations that this data does not have."""
    present = {relation.name for relation in relations_of(base)}
    space = night.settings.tune.space
    usable = {key: dimension for key, dimension in space.items() if relation_of(key) in {None, *present}}
    for key in (key for key in space if key not in usable):
        night.note(f"{key} is left out: this data has no such relation")
    if not usable:
        raise ConfigError("tune.space: none of its relations is in this data, so there is nothing to search")
    return usable


def _fingerprint(base: Night, space: Space) -> str:
    """Hash of everything that the trials' proposals and metrics depend on."""
    tune = base.settings.tune
    parts = [
        base.run.manifest(TRIPLES).fingerprint,
        (base.settings.train.resolved().model_dump() | TRIAL) | dict.fromkeys(_MACHINE),
        {key: dimension.model_dump() for key, dimension in space.items()},
        [tune.seed, tune.random, tune.prune_after],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _report(night: Night, trials: "list[Trial]", folder: Path) -> None:
    """Prints the last trial, and writes the files as if the search ended here."""
    from kgspark.tuning import results

    trial, metric = trials[-1], _metric(night)
    night.note(results.trial_line(trial, metric), f"trial {trial.number}", f"{trial.seconds:.1f} s")
    results.write_files(folder, trials, metric)


def _answer(night: Night, trials: "list[Trial]", folder: Path) -> dict[str, Any]:
    """The object that `--json` prints; also prints the best trial. StageError if there is none."""
    from kgspark.tuning import results
    from kgspark.tuning.study import best_of

    best, metric = best_of(trials), _metric(night)
    results.write_files(folder, trials, metric)  # a kill may have prevented it after the last trial
    line = results.best_line(trials, metric)
    night.note(f"{line}; {folder / results.BEST}", f"best of {len(trials)}")
    return {
        "folder": str(folder),
        "metric": f"valid {metric.lower()}",
        "best": best.to_json(),
        "lead": results.lead(trials),
        "trials": [trial.to_json() for trial in trials],
    }


def _metric(night: Night) -> str:
    return f"NDCG@{night.settings.train.validation.k}"
