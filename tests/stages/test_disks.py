"""Disks that are full or read-only: one line each, yesterday's tables stay, and the next night is whole."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nights import configuration, only_line
from worlds.small_disks import Disks, disks
from worlds.tastes import write_world

pytestmark = [pytest.mark.slow, pytest.mark.extended]

YESTERDAY, TONIGHT = "2026-01-01", "2026-01-02"


@pytest.fixture
def own() -> Iterator[Disks]:
    with disks() as found:
        yield found


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    write_world(tmp_path / "source", groups=3, users=8, movies=8)
    return configuration(
        tmp_path,
        lake=str(tmp_path / "lake"),
        source={"path": str(tmp_path / "source")},
        train={"dim": 16, "epochs": 3, "device": "cpu", "threads": 1},
        recommend={"k": 5},
        audiences={"k": 5},
        publish={"beat_popularity": False},
        spark={"master": "local[2]", "driver_memory": "600m"},
    )


def _nightly(own: Disks, conf: Path, date: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return own.run(sys.executable, "-m", "kgspark.cli", "nightly", conf, f"run_date={date}", **variables)


def _published(lake: Path) -> dict[str, bytes]:
    return {str(path.relative_to(lake)): path.read_bytes() for path in lake.glob("warehouse/*/ds=*/*.parquet")}


def _check_whole(lake: Path, before: dict[str, bytes]) -> None:
    """Tonight's tables are as large as yesterday's, which are as they were."""
    after = _published(lake)
    assert before.items() <= after.items()
    rows = {name: pq.ParquetFile(lake / name).metadata.num_rows for name in after}
    assert sorted(rows[name] for name in before) == sorted(rows[name] for name in after.keys() - before.keys())
    assert not (lake / "warehouse" / "_staging").exists()


def test_a_lake_that_is_full_at_each_stage(own: Disks, conf: Path, tmp_path: Path) -> None:
    lake = own.new(tmp_path / "lake", "100m")
    assert _nightly(own, conf, YESTERDAY).returncode == 0
    before, reached = _published(lake), []
    # A stage that is complete stays so, and each attempt may write some more.
    for free in (4 << 10, *[60 << 10] * 30):
        own.resize(tmp_path / "lake", free)
        done = _nightly(own, conf, TONIGHT)
        if done.returncode == 0:
            break
        assert done.returncode == 69
        assert re.search(r"[Nn]o space left on", only_line(done))
        assert _published(lake) == before
        reached.append(len(done.stdout.splitlines()))
    assert done.returncode == 0
    assert len(set(reached)) >= 3, "the disk was full at few stages only"
    _check_whole(lake, before)


def test_a_folder_that_is_read_only_or_without_space(own: Disks, conf: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert _nightly(own, conf, YESTERDAY).returncode == 0
    before = _published(lake)

    def fails(says: str, **variables: str) -> None:
        done = _nightly(own, conf, TONIGHT, **variables)
        assert done.returncode == 69
        assert re.search(says, only_line(done))
        assert _published(lake) == before

    own.protect(lake)
    fails(rf"{lake}/runs/{TONIGHT}: this night cannot be locked: Read-only file system; .* set lake to a folder that")
    own.run("umount", lake)
    for variable in ("TMPDIR", "SPARK_LOCAL_DIRS"):
        own.new(tmp_path / variable, "64k")
        fails("[Nn]o space left on", **{variable: str(tmp_path / variable)})
    own.protect(lake / "warehouse")
    fails(rf"{lake}/warehouse/\.lock: Read-only file system; nothing is published, and the earlier tables are still")
    own.run("umount", lake / "warehouse")
    assert _nightly(own, conf, TONIGHT).returncode == 0
    _check_whole(lake, before)
