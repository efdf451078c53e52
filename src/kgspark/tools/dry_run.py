"""`kgspark nightly --dry-run`: which stages would run and why, with the memory and time of the last night.

It reads manifests and files as a night does before its work. It starts no JVM, takes no lock and changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from kgspark.errors import KgsparkError, StageError
from kgspark.machine import free_host_bytes
from kgspark.night.comparison import Times, last_full_night, read_times
from kgspark.night.earlier_model import earlier_run
from kgspark.night.night import Night
from kgspark.night.reads import publish_targets
from kgspark.runs import Outcome, StageWork, first_difference
from kgspark.spark.cleaning.source.dialects import find_tables, read_layouts
from kgspark.spark.cleaning.source.first_ids import check_first_ids
from kgspark.stages.nightly import stages_of
from kgspark.stores.uris import is_uri
from kgspark.tables import WRITTEN_BY


@dataclass(frozen=True)
class Planned:
    """What a night would do with a stage.

    runs        False if its output is current, None if only Spark can tell
    why         the reason, empty if its output is current
    seconds     of this stage in the last night that is known; None without such a night
    peak_bytes  the same for the memory
    """

    stage: str
    runs: bool | None
    why: str
    seconds: float | None = None
    peak_bytes: int | None = None


class _WorkFound(Exception):  # noqa: N818 (no error: it ends a stage before its work)
    def __init__(self, work: StageWork, is_intact: bool) -> None:
        super().__init__()
        self.work, self.is_intact = work, is_intact


class _SparkNeeded(Exception):  # noqa: N818
    """A stage must ask Spark before it knows if it has to run."""


class _Dry(Night):
    """A night whose stages end when they have found their work."""

    @property
    def spark(self) -> Any:
        """Raises, because a dry run starts no JVM."""
        raise _SparkNeeded

    def stage(
        self,
        work: StageWork,
        act: Callable[[Night, StageWork], None],
        summary: Callable[[Night], str],
        is_intact: Callable[[Night], bool] = lambda night: True,
    ) -> Outcome:
        """Raises with the stage's work."""
        raise _WorkFound(work, is_intact(self))


def run(night: Night) -> dict[str, Any]:
    """Prints a line for each stage; returns what `--json` prints.

    Raises what a night would raise before its first stage: for a missing package or file.
    """
    earlier_run(night)
    publish_targets(night)
    _check_ids(night)
    dry = _Dry(night.settings, night.say, night.session)
    last = _last_times(night)
    planned: list[Planned] = []
    for name in stages_of(night):
        planned.append(_with_estimate(_plan(dry, name, planned), last))
    for each in planned:
        _tell(night, each)
    seconds = sum(each.seconds or 0.0 for each in planned)
    peak = max((each.peak_bytes or 0 for each in planned), default=0)
    _tell_sum(night, planned, last, seconds, peak)
    return {
        "run_date": night.run.date,
        "stages": [asdict(each) for each in planned],
        "estimated_by": None if last is None else last.date,
        "seconds": seconds if last is not None else None,
        "peak_bytes": peak if last is not None else None,
        "free_bytes": free_host_bytes(),
    }


def _check_ids(night: Night) -> None:
    """What cleaning checks before Spark starts, for files on a disk."""
    source = night.settings.source
    if not source.by_spark and not is_uri(source.path):
        check_first_ids(source, read_layouts(source, find_tables(source)))


def _plan(night: _Dry, name: str, before: Sequence[Planned]) -> Planned:
    stage = name.replace("_", "-")
    running = {each.stage: each.runs for each in before if each.runs is not False}
    try:
        import_module(f"kgspark.stages.{name}").run(night)
    except _SparkNeeded:
        return Planned(stage, None, "a table that Spark opens tells its version to Spark only")
    except _WorkFound as found:
        return _decide(stage, found.work, found.is_intact, running)
    except StageError as error:  # an input is missing
        if running:
            return Planned(stage, True, f"it reads what {next(iter(running))} writes")
        return Planned(stage, True, str(error))
    return Planned(stage, False, "")


def _decide(stage: str, work: StageWork, is_intact: bool, running: Mapping[str, bool | None]) -> Planned:
    writers = [WRITTEN_BY[table] for table in work.inputs if WRITTEN_BY.get(table) in running]
    if writers:
        certain = any(running[writer] for writer in writers)
        return Planned(stage, True if certain else None, f"it reads what {writers[0]} writes")
    why = _reason(work)
    if not why and not is_intact:
        why = "a publish target lacks the tables"
    return Planned(stage, bool(why), why)


def _reason(work: StageWork) -> str:
    """Why the output of a stage is not current; empty if it is."""
    for name in work.outputs:
        found = work.run.find_manifest(name)
        if found is None:
            return f"there is no table {name} yet"
        if found.fingerprint == work.fingerprint:
            continue
        key = first_difference(found.settings, work.settings)
        if key is not None:
            return f"{key} has another value"
        for kind, before, now in (("source", found.sources, work.sources), ("input", found.inputs, work.inputs)):
            changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
            if changed:
                return f"the {kind} {', '.join(changed)} has changed"
        return f"another version of kgspark wrote {name}"
    damages = (work.run.find_damage(work.run.manifest(name)) for name in work.outputs)
    return next(filter(None, damages), "")


def _last_times(night: Night) -> Times | None:
    """The times of this night, if all its stages have run once, else those of the last full one."""
    try:
        return read_times(night.run) or last_full_night(night.run)
    except KgsparkError:
        return None


def _with_estimate(planned: Planned, last: Times | None) -> Planned:
    if planned.runs is False or last is None:
        return planned
    seconds, peak = last.stages.get(planned.stage), last.memory.get(planned.stage)
    return Planned(planned.stage, planned.runs, planned.why, seconds, peak)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _tell(night: Night, planned: Planned) -> None:
    if planned.runs is False:
        night.note("", planned.stage, "up to date")
        return
    would = "would run" if planned.runs else "may run"
    estimate = []
    if planned.seconds is not None:
        estimate.append(f"{planned.seconds:.0f} s")
    if planned.peak_bytes:
        estimate.append(_gib(planned.peak_bytes))
    night.note("; ".join(filter(None, [planned.why, ", ".join(estimate)])), planned.stage, would)


def _tell_sum(night: Night, planned: Sequence[Planned], last: Times | None, seconds: float, peak: int) -> None:
    if all(each.runs is False for each in planned):
        night.say("\nNothing to do. Nothing was changed.")
    elif last is None:
        night.say("\nNo night of this lake tells how long this takes. Nothing was changed.")
    else:
        memory = f" and {_gib(peak)} of memory; {_gib(free_host_bytes())} are free" if peak else ""
        night.say(f"\nAs in the night of {last.date}, this takes {seconds:.0f} s{memory}. Nothing was changed.")
