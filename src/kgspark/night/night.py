"""A night under way: its settings, its folder, one lazily started Spark session, and a line of output a stage."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from kgspark.machine import peak_memory
from kgspark.night.settings import NightSettings
from kgspark.runs import Run, StageWork
from kgspark.spark.settings import SessionSettings

if TYPE_CHECKING:
    from kgspark.spark.frames import SparkSession


@dataclass(frozen=True)
class Outcome:
    """What a stage did: `ran` is False where its output was current already.

    peak_bytes  the most memory that the night's processes on this machine held at once during the stage
    """

    stage: str
    ran: bool
    summary: str
    seconds: float
    peak_bytes: int


class LazySession:
    """A Spark session that starts when it is first asked for, once, and stops with `stack`."""

    def __init__(self, stack: ExitStack, running: "SparkSession | None" = None) -> None:
        self._stack, self._session, self._starting = stack, running, Lock()

    def get(self, settings: SessionSettings) -> "SparkSession":
        """The session, started with `settings` if it was not running."""
        with self._starting:
            if self._session is None:
                from kgspark.spark.session import spark_session

                self._session = self._stack.enter_context(spark_session(settings, "kgspark"))
            return self._session


@dataclass
class Night:
    """What stages share. Nothing else passes between them but tables.

    result  what `--json` prints, where a command has more to tell than its outcomes
    """

    settings: NightSettings
    say: Callable[[str], None]
    session: LazySession
    outcomes: list[Outcome] = field(default_factory=list)
    result: object = None

    @property
    def run(self) -> Run:
        """The night's folder."""
        return Run(self.settings.lake.absolute(), self.settings.run_date)

    @property
    def spark(self) -> "SparkSession":
        """The night's Spark session, started when a stage first needs it."""
        return self.session.get(self.settings.spark)

    def variant(self, settings: NightSettings) -> "Night":
        """A night with other settings in the same Spark session; in the same lake it takes this one's place."""
        return Night(settings, self.say, self.session)

    def stage(self, work: StageWork, act: Callable[[StageWork], str], current: Callable[[], str]) -> Outcome:
        """Runs `act` unless its output is current, and says so in one line.

        act      does the work, commits it and returns a summary
        current  returns the summary of what is already there
        """
        started = time.perf_counter()
        ran = not work.is_current()
        with peak_memory(os.getpid()) as peak:
            summary = act(work) if ran else current()
        outcome = Outcome(work.stage, ran, summary, time.perf_counter() - started, peak.bytes)
        self.outcomes.append(outcome)
        clock = f"{outcome.seconds:6.1f} s" if ran else "up to date"
        self.say(f"{work.stage:<17}{clock:>10}   {summary}")
        return outcome


@contextmanager
def open_night(settings: NightSettings, say: Callable[[str], None]) -> Iterator[Night]:
    """Locks the night's folder for this process, and stops Spark at the end."""
    with ExitStack() as stack:
        night = Night(settings, say, LazySession(stack))
        stack.enter_context(night.run.locked())
        yield night
