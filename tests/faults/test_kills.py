"""Nights that are killed at random moments end, with the same command again, like a night that nobody disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from faults.scale import trials
from nights import DATE, ROOT, configuration, kgspark, only_line, table_bytes
from processes import family, left_after
from worlds.tastes import write_world

pytestmark = [pytest.mark.slow, pytest.mark.extended]

PUBLISHED = ("recommendations", "audiences")
# Spark's own writer gives their files other bytes in each JVM, so their rows are compared.
WRITTEN_BY_SPARK = ("ratings", "movies", "entities", "triples")


def conf(folder: Path, source: Path) -> Path:
    return configuration(
        folder,
        source={"path": str(source)},
        lake=str(folder / "lake"),
        spark={"master": "local[2]", "driver_memory": "512m"},
        train={"dim": 8, "epochs": 2},
        recommend={"k": 5},
        audiences={"k": 5},
        publish={"beat_popularity": False},
    )


def rows(lake: Path, table: str) -> pa.Table:
    """The rows of an intermediate table in a fixed order."""
    files = sorted((lake / "runs" / DATE / table).glob("*.parquet"))
    found = ds.dataset(files).to_table()
    flat = [field.name for field in found.schema if not pa.types.is_nested(field.type)]
    return found.sort_by([(name, "ascending") for name in flat])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_world(folder, groups=3, users=12, movies=6)
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of a night that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = kgspark("nightly", conf(folder, source))
    assert done.returncode == 0, done.stderr
    return folder / "lake"


def start(conf: Path, scratch: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "kgspark.cli", "nightly", str(conf)]
    environment = os.environ | {"TMPDIR": str(scratch)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)


def left_in(scratch: Path, seconds: float) -> list[str]:
    """The scratch folders that are there after so many seconds; the JVM removes its own when it ends."""
    until = time.monotonic() + seconds
    while (left := [path.name for path in scratch.glob("*/*")]) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def kill_after(seconds: float, victim: str, conf: Path, scratch: Path) -> None:
    """Kills the driver or the JVM of a night after so many seconds, or when it has ended; nothing of it may stay."""
    process = start(conf, scratch)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    processes = family(process.pid) if process.poll() is None else []
    javas = [each for each in processes if each.name() == "java"]
    for each in javas if victim == "jvm" else processes[:1]:
        each.send_signal(signal.SIGKILL)
    if victim == "jvm" and javas:
        _, error = process.communicate(timeout=60)
        if process.returncode:  # a night whose last step needs no Spark may end well
            assert only_line(subprocess.CompletedProcess([], process.returncode, "", error))
    assert left_after(processes, 5) == []
    process.communicate(timeout=60)


def test_a_killed_night_ends_like_an_undisturbed_one(source: Path, undisturbed: Path, tmp_path: Path) -> None:
    rng, longest = random.Random(21), 30.0
    for number in range(trials(1, 100)):
        folder, scratch = tmp_path / str(number), tmp_path / f"scratch-{number}"
        scratch.mkdir()
        given = conf(folder, source)
        for victim in ("driver", "jvm"):
            kill_after(rng.uniform(1, longest), victim, given, scratch)
        begun = time.monotonic()
        last = start(given, scratch)
        _, error = last.communicate(timeout=600)
        longest = max(5.0, time.monotonic() - begun)
        assert last.returncode == 0, error
        for table in PUBLISHED:
            assert table_bytes(folder / "lake", table) == table_bytes(undisturbed, table), number
        for table in WRITTEN_BY_SPARK:
            assert rows(folder / "lake", table) == rows(undisturbed, table), number
        assert left_in(scratch, 5) == [], number
        assert not (folder / "lake" / "warehouse" / "_staging").exists()
