"""The observers that the settings and the environment ask for, and what they are told about a command on a night."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from kgspark.cli.exits import exit_of
from kgspark.night.night import Night
from kgspark.observers.observer import Ended, Observer, Observers

_LOG = logging.getLogger("kgspark")
_LINEAGE = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")


@contextmanager
def observed(night: Night, command: str) -> Iterator[None]:
    """Tells the observers about the command that runs inside, its stages, and its end."""
    observers = Observers([*_prometheus(night), *_open_lineage(night), *_mlflow()])
    night.observers, started = observers, time.perf_counter()
    observers.each(lambda observer: observer.night_began(night.run, command))
    code, line = 0, ""
    try:
        yield
    except BaseException as error:
        code, line = exit_of(error)
        raise
    finally:
        ended = Ended(command, night.outcomes, code, line, time.perf_counter() - started)
        observers.each(lambda observer: observer.night_ended(night.run, ended))


def _prometheus(night: Night) -> Iterator[Observer]:
    path = night.settings.observe.prometheus
    if path is not None:
        with _extra("observe.prometheus", "observe"):
            from kgspark.observers.prometheus import PrometheusFile

            yield PrometheusFile(path.absolute())


def _open_lineage(night: Night) -> Iterator[Observer]:
    if any(value and name.startswith(_LINEAGE) for name, value in os.environ.items()):
        with _extra("OpenLineage", "observe"):
            from kgspark.night.reads import published_places
            from kgspark.observers.open_lineage import OpenLineage

            source = night.settings.source
            outside = [source, *filter(None, [source.movies]), *source.tables.values()]
            sources = [place.table or place.path for place in outside]
            yield OpenLineage(sources, partial(published_places, night))


def _mlflow() -> Iterator[Observer]:
    if os.environ.get("MLFLOW_TRACKING_URI"):
        with _extra("MLflow", "mlflow"):
            from kgspark.observers.mlflow import MLflowRuns

            yield MLflowRuns()


@contextmanager
def _extra(name: str, extra: str) -> Iterator[None]:
    """A missing package, or a client that refuses its settings, is a warning: the night does not depend on it."""
    try:
        yield
    except ImportError as error:
        _LOG.warning(f"{name}: needs the package {error.name}: pip install 'kgspark[{extra}]'; it is told nothing")
    except Exception as error:  # of the client's own settings
        _LOG.warning(f"{name}: {' '.join(str(error).split())}; it is told nothing")
