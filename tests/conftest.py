"""Fixtures that every test may use: the data folders, and one Spark session for all tests of this process."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from postgres import JDBC_JAR, jdbc_jar, postgres  # noqa: F401
from s3_server import s3  # noqa: F401

REPOSITORY = Path(__file__).parents[1]

# The JVMs of the tests, with the text by which a file needs one: that of commands (`nights.kgspark`), and that of the
# session in the tests' own process (the fixture `spark`).
_JVMS = {"commands": r"^from nights import .*\bkgspark\b", "session": r"\bspark: Any\b|\b(spark|small_night)\b.*:$"}

# A test's JVM works for seconds on few rows, so the second compiler takes more time than it saves. Without it, Java
# reserves little space for compiled code, and would clear and compile it again and again. spark-submit reads this
# variable, so it applies to the sessions of all processes that a test starts.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m")
# By default, a thread of FAISS or torch that waits keeps its core busy, which another worker of the tests needs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need a JVM come first, so that no worker is left with a long file when the other one is done."""
    items.sort(key=lambda item: _group(item.nodeid).startswith("tests"))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deals out whole files to the workers, and all files that share a JVM to one worker.

    A JVM that has just started is several times slower than one that has run a night. So one worker runs all files that
    start commands, another one all files with a session of their own, and both fill up with the other files. The
    sessions of tests/spark are two groups of their own, because together they would keep one worker longer than the
    others.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByJvm(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByJvm(config, log)


def _group(nodeid: str) -> str:
    """The JVM that a test's file needs, else the file itself."""
    return _group_of_file(nodeid.split("::")[0])


@cache
def _group_of_file(name: str) -> str:
    # The scheduler's process imports no test, so it reads the text.
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    jvm = next((jvm for jvm, pattern in _JVMS.items() if re.search(pattern, text, re.MULTILINE)), None)
    if jvm == "session" and name.startswith("tests/spark/"):
        in_cleaning = name.startswith("tests/spark/cleaning/") and not name.startswith("tests/spark/cleaning/source/")
        return "session of cleaning" if in_cleaning else "session of spark"
    return jvm or name


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
def amazon_beauty() -> Path:
    """Amazon Beauty's published sequences, which may not be shipped: the tests that need them are skipped without."""
    folder = REPOSITORY.parent / "shared" / "data" / "amazon-beauty"
    if not (folder / "sequences.txt").is_file():
        pytest.skip("needs Amazon Beauty next to the repository, in ../shared/data/amazon-beauty")
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
        # Few rows do not pay for compiling plans and expressions. The nights of commands run compiled code.
        "spark.sql.codegen.wholeStage": False,
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.ui.explainMode": "simple",  # the text of every plan, which nobody reads here
    }
    if JDBC_JAR.exists():
        conf["spark.jars"] = str(JDBC_JAR)
    settings = SessionSettings(master="local[2]", driver_memory="1g", conf=conf)
    with spark_session(settings, "kgspark tests") as session:
        yield session


@pytest.fixture(scope="session")
def small_night(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `source`, the ratings of 36 users for 18 movies, and `lake` after one `nights.a_small_night`.

    A whole night takes as long as dozens of tests, so many files share this one. Whoever changes it makes a copy first.
    """
    from kgspark.stages import nightly
    from nights import a_small_night
    from worlds.tastes import write_world

    folder = tmp_path_factory.mktemp("small-night")
    write_world(folder / "source", groups=3, users=12, movies=6)
    nightly.run(a_small_night(folder / "source", folder / "lake", spark))
    return folder
