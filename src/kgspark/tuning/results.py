"""The results of a search: lines to print, `best.yaml` (to merge into a configuration) and `trials.csv`."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import yaml

from kgspark.files import write_atomically
from kgspark.tuning.settings import Value
from kgspark.tuning.space import nested, relation_of
from kgspark.tuning.study import Trial, best_of

BEST, TRIALS = "best.yaml", "trials.csv"


def write_files(folder: Path, trials: Sequence[Trial], metric: str) -> None:
    """Writes `trials.csv`, and `best.yaml` if any trial is complete."""
    write_atomically(folder / TRIALS, trials_csv(trials, metric))
    if any(trial.value is not None for trial in trials):
        write_atomically(folder / BEST, best_yaml(trials, metric))


def trial_line(trial: Trial, metric: str) -> str:
    """Outcome and settings of a trial in one line."""
    outcome = {
        "complete": f"validation {metric} {trial.value or 0:.4f}",
        "pruned": f"stopped in epoch {trial.epochs}: below the median",
        "failed": f"failed: {trial.reason}",
    }[trial.state]
    changes = " ".join(f"{_short_key(key)}={_short_value(value)}" for key, value in trial.changes.items())
    return f"{outcome}; {'the settings given' if trial.number == 0 else changes}"


def _short_key(key: str) -> str:
    return relation_of(key) or key.removeprefix("train.")


def _short_value(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def lead(trials: Sequence[Trial]) -> float | None:
    """The best value minus that of the given settings; None if the trial of the given settings is not complete."""
    best, given = best_of(list(trials)), trials[0]
    return None if best.value is None or given.value is None else best.value - given.value


def best_line(trials: Sequence[Trial], metric: str) -> str:
    """The best trial in one line."""
    best, ahead = best_of(list(trials)), lead(trials)
    text = f"trial {best.number}: validation {metric} {best.value:.4f}"
    if best.number == 0:
        return f"{text}, the settings given"
    return text if ahead is None else f"{text}, {ahead:+.4f} over the settings given"


def best_yaml(trials: Sequence[Trial], metric: str) -> str:
    """The best trial's settings as YAML; an empty mapping if no trial was better than the given settings."""
    best = best_of(list(trials))
    counts = [(state, sum(trial.state == state for trial in trials)) for state in ("complete", "pruned", "failed")]
    outcomes = ", ".join(f"{count} {state}" for state, count in counts)
    header = [
        f"# The best of {len(trials)} trials ({outcomes}), chosen on validation likes by kgspark tune.",
        f"# {best_line(trials, metric)}; {best.epochs} epochs, {best.seconds:.1f} s.",
        "# On the likes that chose it, the best trial seems better than it is; kgspark evaluate measures it.",
    ]
    changes = {} if best.number == 0 else nested(best.changes)
    return "\n".join(header) + "\n" + yaml.safe_dump(changes, sort_keys=False, allow_unicode=True)


def trials_csv(trials: Sequence[Trial], metric: str) -> str:
    """One line per trial: number, state, validation metric, epochs, seconds, every searched setting, reason."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.changes))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["number", "state", f"valid_{metric.lower()}", "epochs", "seconds", *keys, "reason"])
    for trial in trials:
        figures = [trial.number, trial.state, trial.value, trial.epochs, trial.seconds]
        lines.writerow([*figures, *(trial.changes.get(key) for key in keys), trial.reason])
    return text.getvalue()
