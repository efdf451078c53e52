"""A running night: its settings, its folder, a Spark session that starts on demand, and one output line per stage."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from operator import methodcaller
from threading import Lock
from typing import TYPE_CHECKING

from kgspark.logs import lines_of
from kgspark.machine import peak_memory
from kgspark.night.configured_sql import check_configured_sql
from kgspark.night.settings import NightSettings
from kgspark.observers.observer import Observers
from kgspark.runs import Outcome, Run, StageWork
from kgspark.spark.cleaning.source.fetched import objects_named
from kgspark.spark.settings import SessionSettings
from kgspark.stores.copies import open_lake

if TYPE_CHECKING:
    from kgspark.spark.frames import SparkSession


class LazySession:
    """A Spark session that starts once, when it is first needed, and stops with `stack`."""

    def __init__(self, stack: ExitStack, running: "SparkSession | None" = None) -> None:
        """`running` is used as it is, with our settings, instead of starting one."""
        self._stack, self._running, self._starting = stack, running, Lock()
        self._session: SparkSession | None = None

    def get(self, settings: SessionSettings) -> "SparkSession":
        """The session; starts it with `settings` if it is not running."""
        with self._starting:
            if self._session is None:
                from kgspark.spark.session import borrowed, spark_session

                given = None if self._running is None else borrowed(self._running, settings)
                self._session = self._stack.enter_context(given or spark_session(settings, "kgspark"))
            return self._session


@dataclass
class Night:
    """The context of all stages. A stage passes results to later stages only as tables.

    say        prints one line for the user
    observers  what is told about the stages
    """

    settings: NightSettings
    say: Callable[[str], None]
    session: LazySession
    outcomes: list[Outcome] = field(default_factory=list)
    observers: Observers = field(default_factory=Observers)
    _is_checked: bool = field(default=False, init=False)

    @property
    def run(self) -> Run:
        """The night's folder."""
        return Run(self.settings.lake.absolute(), self.settings.run_date, self.settings.verify)

    @property
    def spark(self) -> "SparkSession":
        """The night's Spark session; starts when a stage first needs it.

        Raises ConfigError if SQL of the settings reaches more than declared tables, StageError if Spark cannot work on
        the lake's store.
        """
        from kgspark.spark.stored import check_connector

        session = self.session.get(self.settings.spark)
        if not self._is_checked:
            check_configured_sql(session, self.settings)
            check_connector(session, self.run.folder)
            self._is_checked = True
        return session

    def variant(self, settings: NightSettings) -> "Night":
        """A night with other settings in the same Spark session. With the same lake, it overwrites this night."""
        return Night(settings, self.say, self.session)

    def note(self, text: str, label: str = "", clock: str = "") -> None:
        """Prints a line in the columns of the stages' lines: label, time taken, text."""
        self.say(f"{label:<17}{clock:>10}   {text}".rstrip())

    def stage(
        self,
        work: StageWork,
        act: Callable[["Night", StageWork], None],
        summary: Callable[["Night"], str],
        is_intact: Callable[["Night"], bool] = lambda night: True,
    ) -> Outcome:
        """Runs `act` unless the output of `work` is current, and prints one line.

        act        does the work and commits it
        summary    describes the present output in a few words
        is_intact  returns False if a result outside the night's folder is missing, so that the stage must run again
        """
        with lines_of(work.stage), objects_named(self.run.lake):
            started = time.perf_counter()
            ran = not (work.is_current() and is_intact(self))
            with peak_memory(os.getpid()) as peak:
                if ran:
                    work.check_inputs()
                    self._act(work, act)
                else:
                    work.remove_remains()  # of an attempt that was killed at the end of its commit
            outcome = Outcome(work.stage, ran, summary(self), time.perf_counter() - started, peak.bytes)
            self.outcomes.append(outcome)
            self.observers.each(lambda observer: observer.stage_ended(work, outcome))
            self.note(outcome.summary, work.stage, f"{outcome.seconds:.1f} s" if ran else "up to date")
        return outcome

    def _act(self, work: StageWork, act: Callable[["Night", StageWork], None]) -> None:
        self.observers.each(lambda observer: observer.stage_began(work))
        try:
            act(self, work)
        except BaseException as error:
            # A name for the error would be a cycle with its traceback, whose Java objects are then freed at any time.
            self.observers.each(methodcaller("stage_failed", work, error))
            raise


@contextmanager
def open_night(
    settings: NightSettings, say: Callable[[str], None], locked: bool = True, spark: "SparkSession | None" = None
) -> Iterator[Night]:
    """Locks the night's folder for this process unless `locked` is False, and stops Spark at the end if it started it.

    spark  a session to use instead of starting one
    """
    open_lake(settings.lake.absolute(), settings.store)
    with ExitStack() as stack:
        night = Night(settings, say, LazySession(stack, spark))
        if locked:
            stack.enter_context(night.run.locked())
        yield night
