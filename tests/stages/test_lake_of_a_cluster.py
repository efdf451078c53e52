"""A cluster whose lake is in an object store: nobody but the driver has a copy, and the tables are the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from kgspark.copies import usual_folder
from kgspark.stages import nightly
from kgspark.stores import Store
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
    source, uri = {"path": str(tmp_path / "world")}, s3.new_uri()
    conf = configuration(tmp_path, source=source, lake=uri, **SECTIONS)
    with standalone_cluster(tmp_path, workers=2) as master:
        done = submit(master, ROOT / "jobs" / "nightly.py", str(conf), conf=EXECUTORS | s3a_conf(s3))
        assert done.returncode == 0, done.stderr[-3000:]
        again = submit(master, ROOT / "jobs" / "nightly.py", str(conf), conf=EXECUTORS | s3a_conf(s3))
        assert "6 of 6 stages were up to date" in again.stdout + again.stderr
    nightly.run(a_night(tmp_path / "lake", spark, source=source, **SECTIONS))

    copy, store = usual_folder(uri), Store(uri)
    assert table_contents(copy) == table_contents(tmp_path / "lake")
    assert not list((copy / "runs" / DATE / "audiences").glob("*.parquet"))  # executors wrote to the store
    assert not [each.key for each in store.objects("runs") if "staging" in each.key]
    latest, local = (json.loads(text) for text in (store.read("warehouse/_latest.json")[0], _pointer(tmp_path)))
    assert latest == local


def _pointer(folder: Path) -> bytes:
    return (folder / "lake" / "warehouse" / "_latest.json").read_bytes()
