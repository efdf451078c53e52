"""The common parts of benchmarks: types, sources, temporary nights, clocks and processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, Field

from kgspark import config
from kgspark.errors import ConfigError, StageError
from kgspark.machine import peak_memory
from kgspark.night.night import Night, Outcome
from kgspark.night.settings import NightSettings
from kgspark.stages import clean_ratings, index_entities, write_triples

Say = Callable[[str], None]
Row = dict[str, Any]
T = TypeVar("T")

BUNDLED = "conf/ml-latest-small.yaml"


def _movielens_folder(source: str) -> str:
    path = Path(source)
    if path.suffix == ".yaml":
        if not path.is_file():
            raise ValueError("expected a MovieLens folder, because there is no such configuration file here")
        path = _source_of(path)
    if not path.is_dir():
        raise ValueError(f"expected a MovieLens folder, but {path} is not one")
    return str(path.absolute())


def _source_of(conf: Path) -> Path:
    try:
        return Path(config.document_with(NightSettings, conf).values["source"]["path"])
    except (ConfigError, KeyError, TypeError):
        raise ValueError("expected a MovieLens folder, or a configuration file with source.path") from None


Source = Annotated[
    str,
    AfterValidator(_movielens_folder),
    Field(validate_default=True, description="a MovieLens folder, or a configuration file whose source.path is one"),
]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that is removed when the benchmark ends."""
    with TemporaryDirectory(prefix="kgspark-bench-") as folder:
        yield Path(folder)


def night_settings(
    source: str, scratch: Path, overrides: Sequence[str], changes: Mapping[str, Any] | None = None
) -> NightSettings:
    """A night of the MovieLens folder `source` in `scratch`, with `changes` and then `overrides`, dotted.key=value."""
    written = {"source": {"path": source}, "lake": str(scratch / "lake")}
    document = config.Document("command line", config.merged(written, changes or {}))
    for override in overrides:
        config.apply_override(document, override)
    return config.decode(NightSettings, document)


def write_graph(night: Night) -> list[Outcome]:
    """Runs the stages before training: cleaning, indexing, triples."""
    return [stage.run(night) for stage in (clean_ratings, index_entities, write_triples)]


def in_turn(systems: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Calls every system once to warm up, then `rounds` times more; returns the results of the later calls.

    The systems take turns, so that a slow minute of the machine affects all of them.
    """
    answers = [{name: system() for name, system in systems.items()} for _ in range(rounds + 1)]
    return {name: [answer[name] for answer in answers[1:]] for name in systems}


@dataclass(frozen=True)
class Timed(Generic[T]):
    """The result of some work, and its wall-clock seconds."""

    answer: T
    seconds: float


def timed(work: Callable[[], T]) -> Timed[T]:
    """Does the work once."""
    started = time.perf_counter()
    answer = work()
    return Timed(answer, time.perf_counter() - started)


def seconds_of(work: Callable[[], object]) -> float:
    """Does the work once; returns only its seconds."""
    return timed(work).seconds


@dataclass(frozen=True)
class Finished:
    """A process that has ended: the JSON object that it printed, and the peak memory of it and its children."""

    answer: Row
    seconds: float
    peak_bytes: int


def run_process(name: str, module: str, *arguments: str) -> Finished:
    """Runs `python -m MODULE ARGUMENTS`; StageError with the end of its output if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    started = time.perf_counter()
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        peak_memory(process.pid) as peak,
    ):
        out, err = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise StageError(f"bench: {name} failed: {' '.join(err.split())[-600:]}")
    return Finished(json.loads(out), seconds, peak.bytes)
