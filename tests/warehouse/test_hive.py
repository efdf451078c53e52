"""The target `hive`: partitions of Spark's catalogue that are the folders of versions."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from faults.scale import trials
from kgspark.errors import StageError
from kgspark.runs import Run
from kgspark.tables import AUDIENCES, RANKED, RECOMMENDATIONS, USER_VECTORS
from kgspark.warehouse import files
from kgspark.warehouse.hive import HiveSettings, HiveTarget
from nights import ROOT
from s3_server import S3
from worlds.published import ROWS_PER_FILE, rank
from worlds.stored_lakes import copy_at
from worlds.stores import hive_database

FIRST, SECOND = "2026-02-01", "2026-02-02"
ALL = 2 * ROWS_PER_FILE


@pytest.fixture
def target(spark: Any, tmp_path: Path) -> Iterator[HiveTarget]:
    with hive_database(spark, tmp_path):
        yield HiveTarget(HiveSettings(), lambda: spark)


def publish(target: HiveTarget, run: Run, model: str, tables: tuple[str, ...] = RANKED, **more: Any) -> Run:
    rank(run, model, tables, more=more)
    files.publish(run, tables)
    target.publish(run, tables)
    assert target.is_there(run, tables)
    return run


def models(spark: Any, table: str) -> dict[str, str]:
    """The model of each date, by Spark; every date must have all its rows."""
    rows = spark.sql(f"SELECT ds, model_id, count(*) FROM kgspark.{table} GROUP BY ds, model_id").collect()
    assert {row[2] for row in rows} <= {ALL}
    return {row.ds: row.model_id for row in rows}


def newest(spark: Any) -> tuple[str, dict[str, dict[str, int]]]:
    """By docs/targets.md: the newest partition that all tables have, and the rows of each model there by table."""
    dates = [
        {row.partition.removeprefix("ds=") for row in spark.sql(f"SHOW PARTITIONS kgspark.{table}").collect()}
        for table in RANKED
    ]
    day = max(set.intersection(*dates))
    query = "SELECT model_id, count(*) FROM kgspark.{} WHERE ds = '{}' GROUP BY model_id"
    return day, {table: dict(map(tuple, spark.sql(query.format(table, day)).collect())) for table in RANKED}


@pytest.mark.extended
@pytest.mark.faults
def test_readers_of_the_newest_partition_find_a_whole_night_at_every_moment(
    spark: Any, target: HiveTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader reads all the time, another one after each change of a partition."""
    first = date(2026, 1, 1)
    publish(target, Run(tmp_path / "lake", str(first)), f"of {first}")
    done, between, point = Event(), list[Any](), HiveTarget._point

    def then_read(target: HiveTarget, *arguments: Any) -> None:
        point(target, *arguments)
        between.append(newest(spark))

    monkeypatch.setattr(HiveTarget, "_point", then_read)

    def poll() -> list[tuple[str, dict[str, dict[str, int]]]]:
        found = [newest(spark)]
        while not done.is_set():
            found.append(newest(spark))
        return found

    with ThreadPoolExecutor() as readers:
        polled = readers.submit(poll)
        try:
            for number in range(1, trials(6, 50)):
                day = first + timedelta(number)
                publish(target, Run(tmp_path / "lake", str(day)), f"of {day}")
        finally:
            done.set()
    found = [*polled.result(), *between]
    assert len({day for day, _ in found}) > 2
    assert all(rows == {table: {f"of {day}": ALL} for table in RANKED} for day, rows in found)


def test_dates_are_replaced_left_out_and_rolled_back(spark: Any, target: HiveTarget, tmp_path: Path) -> None:
    first, second = (Run(tmp_path / "it's a lake", date) for date in (FIRST, SECOND))
    publish(target, first, "one")
    publish(target, second, "two")
    publish(target, first, "three")
    assert models(spark, RECOMMENDATIONS) == models(spark, AUDIENCES) == {FIRST: "three", SECOND: "two"}
    assert target.held(first.lake) == {FIRST: "three", SECOND: "two"}
    publish(target, second, "four", (RECOMMENDATIONS,))
    assert models(spark, AUDIENCES) == {FIRST: "three"}
    assert not target.is_there(rank(first, "five"), RANKED)
    assert target.roll_back(first) == f"removed {SECOND}"
    assert models(spark, RECOMMENDATIONS) == {FIRST: "three"}
    assert not target.is_there(second, (RECOMMENDATIONS,))
    with pytest.raises(StageError, match=f"{SECOND} is not published here; published: {FIRST}"):
        target.roll_back(second)


def test_a_new_column_is_added_and_other_changes_are_one_line(spark: Any, target: HiveTarget, tmp_path: Path) -> None:
    publish(target, Run(tmp_path / "lake", FIRST), "one")
    second = publish(target, Run(tmp_path / "lake", SECOND), "two", why="liked")
    rows = spark.sql("SELECT DISTINCT ds, why FROM kgspark.recommendations").collect()
    assert sorted(map(tuple, rows)) == [(FIRST, None), (SECOND, "liked")]
    with pytest.raises(StageError, match="the published table has the column why, which tonight's table lacks"):
        publish(target, second, "three")
    assert models(spark, RECOMMENDATIONS) == {FIRST: "one", SECOND: "two"}


def test_vectors_are_arrays(spark: Any, target: HiveTarget, tmp_path: Path) -> None:
    """Those of a later night may be longer."""
    for night, length in ((FIRST, 2), (SECOND, 3)):
        vector = pa.scalar([0.5] * length, pa.list_(pa.field("element", pa.float32()), length))
        publish(target, Run(tmp_path / "lake", night), "one", (USER_VECTORS,), vector=vector)
    rows = spark.sql("SELECT DISTINCT ds, vector FROM kgspark.user_vectors ORDER BY ds").collect()
    assert [tuple(row) for row in rows] == [(FIRST, [0.5, 0.5]), (SECOND, [0.5, 0.5, 0.5])]


def test_an_error_takes_back_what_was_done(spark: Any, target: HiveTarget, tmp_path: Path) -> None:
    run = publish(target, Run(tmp_path / "lake", FIRST), "one")
    spark.sql("DROP TABLE kgspark.audiences")
    spark.sql("CREATE TABLE kgspark.audiences (user_id STRING) USING parquet")
    rank(run, "two")
    files.publish(run, RANKED)
    with pytest.raises(StageError, match="table audiences: the published table has user_id as string"):
        target.publish(run, RANKED)
    assert models(spark, RECOMMENDATIONS) == {FIRST: "one"}


def test_files_must_be_published_before(target: HiveTarget, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"list files before hive in publish\.targets"):
        target.publish(rank(Run(tmp_path / "lake", FIRST), "one"), RANKED)


def test_a_catalogue_that_ends_with_the_session_is_refused(spark: Any, tmp_path: Path) -> None:
    run = rank(Run(tmp_path / "lake", FIRST), "one")
    files.publish(run, RANKED)
    with pytest.raises(StageError, match=r"set spark\.conf\.spark\.sql\.catalogImplementation=hive"):
        HiveTarget(HiveSettings(), lambda: spark).publish(run, RANKED)


@pytest.mark.extended
def test_another_session_finds_the_tables_in_a_metastore(tmp_path: Path) -> None:
    def run(*more: str) -> Any:
        env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
        command = [sys.executable, "-m", "worlds.hive_catalog", tmp_path, *more]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    rows = [[date, f"model {date}", ALL] for date in (FIRST, SECOND)]
    assert run() == {"there": [True, True], "rows": rows, "held": {date: model for date, model, _ in reversed(rows)}}
    again = run("again")
    assert again == {
        "there": [True, True], "rows": rows, "rollback": f"removed {SECOND}", "held": {FIRST: f"model {FIRST}"}
    }  # fmt: skip


def test_without_a_connector_for_the_store_it_is_one_line(
    target: HiveTarget, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's catalogue names the folders of the store, so Spark must be able to read them."""
    s3.use(monkeypatch)
    run = rank(Run(copy_at(tmp_path / "copy", s3.new_uri()), FIRST), "one")
    files.publish(run, RANKED)
    with pytest.raises(StageError, match="S3AFileSystem not found; nothing is published there") as caught:
        target.publish(run, RANKED)
    assert "\n" not in str(caught.value)
    assert not target.is_there(run, RANKED)
    assert files.is_there(run, RANKED)
