"""A night under way: its settings, its folder, one lazily started Spark session, and a line of output a stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from kgspark.runs import Run, StageWork
from kgspark.stages.settings import NightSettings

if TYPE_CHECKING:
    from kgspark.spark.frames import SparkSession


@dataclass(frozen=True)
class Outcome:
    """What a stage did: `ran` is False where its output was current already."""

    stage: str
    ran: bool
    summary: str
    seconds: float


@dataclass
class Night:
    """What stages share. Nothing else passes between them but tables.

    result  what `--json` prints, where a command has more to tell than its outcomes
    """

    settings: NightSettings
    say: Callable[[str], None]
    outcomes: list[Outcome] = field(default_factory=list)
    result: object = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _spark: "SparkSession | None" = None
    _starting: Lock = field(default_factory=Lock)

    @property
    def run(self) -> Run:
        """The night's folder."""
        return Run(self.settings.lake.absolute(), self.settings.run_date)

    @property
    def spark(self) -> "SparkSession":
        """The night's Spark session, started when a stage first needs it."""
        with self._starting:
            if self._spark is None:
                from kgspark.spark.session import spark_session

                self._spark = self._stack.enter_context(spark_session(self.settings.spark, "kgspark"))
            return self._spark

    def stage(self, work: StageWork, act: Callable[[StageWork], str], current: Callable[[], str]) -> Outcome:
        """Runs `act` unless its output is current, and says so in one line.

        act      does the work, commits it and returns a summary
        current  returns the summary of what is already there
        """
        started = time.perf_counter()
        ran = not work.is_current()
        summary = act(work) if ran else current()
        outcome = Outcome(work.stage, ran, summary, time.perf_counter() - started)
        self.outcomes.append(outcome)
        clock = f"{outcome.seconds:6.1f} s" if ran else "up to date"
        self.say(f"{work.stage:<17}{clock:>10}   {summary}")
        return outcome


@contextmanager
def open_night(settings: NightSettings, say: Callable[[str], None]) -> Iterator[Night]:
    """Locks the night's folder for this process, and stops Spark at the end."""
    night = Night(settings, say)
    with night.run.locked(), night._stack:
        yield night
