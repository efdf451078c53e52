"""Ends the jobs of a session whose cluster has no executor: Spark itself would wait for ever, without a word."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from kgspark.errors import ResourceError
from kgspark.machine import sampling

_SECONDS_BETWEEN = 5.0


@dataclass
class _Watch:
    """Since when, by a clock that nobody sets, jobs have waited for an executor; None if none waits."""

    session: SparkSession
    seconds: float
    since: float | None = None
    expired: bool = False

    def look(self) -> None:
        with suppress(Py4JError, ConnectionError):  # Spark has ended, which the job itself tells
            now, context = time.monotonic(), self.session.sparkContext
            # Spark counts the driver as an executor.
            waits = (
                context._jsc.sc().getExecutorMemoryStatus().size() < 2 and context.statusTracker().getActiveJobsIds()
            )
            self.since = (self.since or now) if waits else None
            if self.since is not None and now - self.since >= self.seconds:
                self.expired = True
                context.cancelAllJobs()


@contextmanager
def executors_expected(session: SparkSession, minutes: float | None) -> Iterator[None]:
    """Cancels all jobs, and raises ResourceError, if a job waits so many minutes while the cluster has no executor.

    minutes  None waits for ever. In local mode the driver does the work, so nobody waits.
    """
    context = session.sparkContext
    if minutes is None or (context.master or "").startswith("local"):
        yield
        return
    watch = _Watch(session, 60 * minutes)
    with sampling(watch.look, min(_SECONDS_BETWEEN, watch.seconds)):
        try:
            yield
        except Exception as error:
            if watch.expired:
                raise ResourceError(
                    f"{context.master}: no executor for {minutes:g} minutes; see if the cluster's workers run, have "
                    "free cores and memory, and can be reached; spark.executor_wait is the limit"
                ) from error
            raise
