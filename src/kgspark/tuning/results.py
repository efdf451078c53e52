"""What a search leaves for people: `best.yaml`, to be merged into a configuration, and `trials.csv`."""

import csv
import io
from collections.abc import Sequence

import yaml

from kgspark.tuning.space import nested
from kgspark.tuning.study import Trial, best_of


def lead(trials: Sequence[Trial]) -> float | None:
    """How far the best figure lies above that of the settings given; None where those did not come to an end."""
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
    """The best trial's settings as YAML; an empty mapping where the settings given were not bettered."""
    best = best_of(list(trials))
    counts = [(state, sum(trial.state == state for trial in trials)) for state in ("complete", "pruned", "failed")]
    told = ", ".join(f"{count} {state}" for state, count in counts)
    header = [
        f"# The best of {len(trials)} trials ({told}), chosen on validation likes by kgspark tune.",
        f"# {best_line(trials, metric)}; {best.epochs} epochs, {best.seconds:.1f} s.",
        "# The best of many looks better on the likes that chose it than on others: kgspark evaluate measures it.",
    ]
    changes = {} if best.number == 0 else nested(best.changes)
    return "\n".join(header) + "\n" + yaml.safe_dump(changes, sort_keys=False, allow_unicode=True)


def trials_csv(trials: Sequence[Trial], metric: str) -> str:
    """A line a trial: number, state, validation figure, epochs, seconds, every searched setting, reason."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.changes))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["number", "state", f"valid_{metric.lower()}", "epochs", "seconds", *keys, "reason"])
    for trial in trials:
        figures = [trial.number, trial.state, trial.value, trial.epochs, trial.seconds]
        lines.writerow([*figures, *(trial.changes.get(key) for key in keys), trial.reason])
    return text.getvalue()
