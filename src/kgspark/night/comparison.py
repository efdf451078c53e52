"""Compares a night with earlier ones: its seconds with the last full night's, its lists with the last published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from kgspark.files import write_atomically
from kgspark.night.night import Night
from kgspark.runs import Outcome, Run
from kgspark.tables import MODEL, RATINGS

# The seconds and the memory of each stage of the last run of the night in which every stage ran. It is not a table.
_TIMES = "times.json"


@dataclass(frozen=True)
class Times:
    """The seconds of a night's stages.

    full    True if cleaning read every file and training started from nothing
    memory  peak bytes of all processes of the night on this machine, by stage; empty if an earlier version wrote it
    """

    date: str
    full: bool
    stages: dict[str, float]
    memory: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The sum over all stages."""
        return sum(self.stages.values())


def write_times(night: Night, outcomes: Sequence[Outcome]) -> None:
    """Keeps the seconds of a night whose stages all ran; others cannot be compared."""
    if all(outcome.ran for outcome in outcomes):
        stages = {outcome.stage: outcome.seconds for outcome in outcomes}
        memory = {outcome.stage: outcome.peak_bytes for outcome in outcomes}
        text = json.dumps({"full": is_full(night.run), "stages": stages, "memory": memory}, indent=2)
        write_atomically(night.run.folder / _TIMES, text + "\n")


def is_full(run: Run) -> bool:
    """True if cleaning read every file and training started from nothing."""
    basis = run.manifest(RATINGS).details["basis"]
    took_over = basis["date"] and not basis["unfit"]
    return not took_over and "warm_start" not in run.manifest(MODEL).sources


def last_full_night(run: Run) -> Times | None:
    """The newest earlier night that was full and whose seconds are known."""
    found = (read_times(earlier) for earlier in run.earlier())
    return next((times for times in found if times is not None and times.full), None)


def format_comparison(outcomes: Sequence[Outcome], full: Times | None, churn: dict[str, float]) -> list[str]:
    """Both comparisons as lines to print. A full night of a version with other stages is left out."""
    lines = []
    if full is not None and all(outcome.ran and outcome.stage in full.stages for outcome in outcomes):
        share = sum(outcome.seconds for outcome in outcomes) / full.seconds
        stages = ", ".join(f"{o.stage} {o.seconds:.1f} of {full.stages[o.stage]:.1f}" for o in outcomes)
        lines.append(f"That is {share:.2f} of the last full night, {full.date}: {stages} s.")
    if churn:
        tables = ", ".join(f"{value:.1%} of {table}" for table, value in churn.items())
        lines.append(f"New in the lists since the last published night: {tables}.")
    return lines


def read_times(run: Run) -> Times | None:
    """What `write_times` has kept of a night; None if there is nothing, or if it cannot be read."""
    try:
        value = json.loads((run.folder / _TIMES).read_text(encoding="utf-8"))
        stages = {stage: float(seconds) for stage, seconds in value["stages"].items()}
        memory = {stage: int(peak) for stage, peak in value.get("memory", {}).items()}
        return Times(run.date, bool(value["full"]), stages, memory)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
