"""A cluster whose lake is in an object store: nobody but the driver has a copy, and the tables are the same."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kgspark.runs import Run
from kgspark.stages import clean_ratings, nightly
from kgspark.stores.copies import usual_folder
from kgspark.stores.store import Store
from kgspark.tables import RATINGS
from nights import DATE, ROOT, a_night, configuration, table_contents
from s3_server import S3
from s3a import s3a_conf
from standalone_cluster import JAVA_OPTIONS, standalone_cluster, submit
from worlds.tastes import write_world

pytestmark = [pytest.mark.slow, pytest.mark.extended]

SECTIONS = {
    "split": {"protocol": "none"},
    "train": {"dim": 32},
    "recommend": {"k": 20},
    "audiences": {"k": 20},
    "similar_items": {"enabled": True, "k": 5},
    "vectors": {"enabled": True},
    "publish": {"beat_popularity": False},
}
EXECUTORS = {
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": JAVA_OPTIONS,
    "spark.sql.shuffle.partitions": "2",
    "spark.log.level": "ERROR",
}


def test_a_cluster_works_on_the_objects(spark: Any, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_world(tmp_path / "world", groups=40, users=32, movies=8)
    uri = s3.new_uri()
    for file in (tmp_path / "world").iterdir():
        Store(f"{uri}/world").upload(file, file.name)
    sections = {"source": {"path": f"{uri}/world"}, "lake": f"{uri}/lake", **SECTIONS}
    conf = configuration(tmp_path, **sections)
    with standalone_cluster(tmp_path, workers=2) as master:
        done = submit(master, ROOT / "jobs" / "nightly.py", str(conf), conf=EXECUTORS | s3a_conf(s3))
        assert done.returncode == 0, done.stderr[-3000:]
        again = submit(master, ROOT / "jobs" / "nightly.py", str(conf), conf=EXECUTORS | s3a_conf(s3))
        assert "7 of 7 stages were up to date" in again.stdout + again.stderr
    nightly.run(a_night(tmp_path / "lake", spark, source={"path": str(tmp_path / "world")}, **SECTIONS))

    copy, store = usual_folder(f"{uri}/lake"), Store(f"{uri}/lake")
    assert table_contents(copy) == table_contents(tmp_path / "lake")
    for table in ("audiences", "similar_items", "user_vectors"):  # executors wrote these to the store
        assert not list((copy / "runs" / DATE / table).glob("*.parquet"))
    assert not [each.key for each in store.objects("runs") if "staging" in each.key]
    latest, local = (json.loads(text) for text in (store.read("warehouse/_latest.json")[0], _pointer(tmp_path)))
    assert latest == local


# A command for whose driver the source is too large to be read.
_LARGE = """
import sys
from kgspark.cli import main
from kgspark.spark import frames
from kgspark.spark.cleaning.source import fetched
from kgspark.stages import clean_ratings
frames.READ_HERE = clean_ratings.READ_HERE = -1
fetched._END_BYTES = 64 << 10
sys.exit(main(sys.argv[1:]))
"""


def test_the_driver_needs_only_the_ends_of_a_large_source(
    spark: Any, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _write_events(tmp_path / "source")
    uri = s3.new_uri()
    for file in (tmp_path / "source").rglob("*.*"):
        Store(f"{uri}/a source").upload(file, file.relative_to(tmp_path / "source").as_posix())
    columns = {"user": "u", "movie": "m", "rating": "r", "timestamp": "t"}
    given = {"format": "table", "ids": "string", "columns": columns}
    access = {"store_access": "connector", "master": "local[2]", "conf": s3a_conf(s3)}
    source = {**given, "path": f"{uri}/a source"}
    conf = configuration(tmp_path, source=source, lake=f"{uri}/lake", spark=access, clean={"max_quarantined_share": 1})
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, "clean-ratings", conf], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    night = a_night(
        tmp_path / "lake", spark, source={**given, "path": str(tmp_path / "source")}, clean={"max_quarantined_share": 1}
    )
    clean_ratings.run(night)

    copy = usual_folder(f"{uri}/lake")
    assert table_contents(copy) == table_contents(tmp_path / "lake")
    ours, theirs = (Run(lake, DATE).manifest(RATINGS).details for lake in (copy, tmp_path / "lake"))
    for details in (ours, theirs):
        for file in details["source_files"][RATINGS]:
            file.pop("state")
    assert ours["source_files"] == theirs["source_files"]
    assert ours["accounts"] == theirs["accounts"]
    sparse = next((copy / "sources").glob("*/files/day=2/*.csv"))
    middle = sparse.read_bytes()[70_000:-70_000]
    assert middle == bytes(len(middle)) != b""


def _write_events(folder: Path) -> None:
    """Two folders of Hive, with a text in gzip and a plain one. Each has a bad line, and no end of its last line."""
    for day in (1, 2):
        (folder / f"day={day}").mkdir(parents=True)
        lines = [f"user {day} {i % 97},m+{i % 13}%,{1 + i % 5},{1_600_000_000 + 1000 * i + day}" for i in range(40_000)]
        lines[20_000] = "user,m,no number,1600000000"
        text = "\n".join(["u,m,r,t", *lines])
        if day == 1:
            (folder / "day=1" / "a b.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / "day=2" / "a+b.csv").write_text(text)


def _pointer(folder: Path) -> bytes:
    return (folder / "lake" / "warehouse" / "_latest.json").read_bytes()
