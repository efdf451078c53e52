"""Fixtures that every test may use: the data folders, and one Spark session for all tests of this process."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]

# A test's JVM works for seconds on few rows, so the second compiler would take more time than it saves. spark-submit
# reads this variable, so it applies to the sessions of all processes that a test starts.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left with a long file when the other one is done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
