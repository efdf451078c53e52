"""Fixtures that every test may use: the data folders, and one Spark session for all tests of this process."""

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]

# What files of tests need a JVM for: commands (`nights.kgspark`), or a session in the tests' own process.
_JVMS = ("commands", "session")

# A test's JVM works for seconds on few rows, so the second compiler would take more time than it saves. spark-submit
# reads this variable, so it applies to the sessions of all processes that a test starts.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests for the workers of pytest-xdist: a file stays whole, and files that share a JVM stay together.

    A JVM that has just started is several times slower than one that has run a night. So one worker runs all files that
    start commands, another one all files with a session of their own, and both fill up with the other files.
    """
    groups = {path: _group(path, list(of_file)) for path, of_file in groupby(items, lambda item: item.path)}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))
    items.sort(key=lambda item: groups[item.path] not in _JVMS)


def _group(path: Path, items: list[pytest.Item]) -> str:
    """The JVM that a file needs, else the file itself."""
    module = items[0].getparent(pytest.Module)
    if module is not None and callable(getattr(module.obj, "kgspark", None)):
        return "commands"
    if any("spark" in getattr(item, "fixturenames", ()) for item in items):
        return "session"
    return str(path)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests marked `gpu` if torch finds no CUDA device."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def ml_small() -> Path:
    """The bundled MovieLens latest-small."""
    return REPOSITORY / "tests" / "data" / "ml-latest-small"


@pytest.fixture(scope="session")
def ml_1m() -> Path:
    """MovieLens-1M, which may not be shipped: the tests that need it are skipped without it."""
    folder = REPOSITORY.parent / "shared" / "data" / "ml-1m"
    if not (folder / "ratings.dat").is_file():
        pytest.skip("needs MovieLens-1M next to the repository, in ../shared/data/ml-1m")
    return folder


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """kgspark's own session on two local threads, with few partitions, because each partition is one more task."""
    from kgspark.spark.session import spark_session
    from kgspark.spark.settings import SessionSettings

    conf = {
        "spark.sql.shuffle.partitions": 3,
        "spark.default.parallelism": 2,
        "spark.sql.execution.arrow.pyspark.enabled": True,
    }
    settings = SessionSettings(master="local[2]", driver_memory="1g", conf=conf)
    with spark_session(settings, "kgspark tests") as session:
        yield session
