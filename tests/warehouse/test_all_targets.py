"""A real night in every target: the same rows to the bit, one error line, and a next run that completes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from kgspark.errors import StageError
from kgspark.night.night import Night
from kgspark.night.reads import tables_to_publish
from kgspark.runs import Run
from kgspark.stages import publish, write_vectors
from kgspark.tables import PUBLISHED, RANKED, USER_VECTORS
from kgspark.warehouse.files import held
from nights import DATE, a_small_night
from postgres import Postgres
from worlds.stores import Delta, Iceberg, PostgreSql, Store, hive_database

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(small_night: Path, tmp_path: Path) -> Path:
    """A ranked night that is not published."""
    shutil.copytree(small_night / "lake", tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "warehouse")
    return tmp_path / "lake"


@pytest.fixture
def stores(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> dict[str, Store]:
    monkeypatch.setenv("OF_A_TEST", postgres.password)
    return {
        "delta": Delta(f"{tmp_path}/delta"),
        "iceberg": Iceberg.embedded(tmp_path),
        "postgres": PostgreSql(tmp_path, postgres),
    }


@pytest.fixture
def hive(spark: Any, tmp_path: Path) -> Iterator[None]:
    with hive_database(spark, tmp_path):
        yield


def night_of(
    small_night: Path, lake: Path, spark: Any, stores: dict[str, Store], targets: list[str], **more: Any
) -> Night:
    settings = {name: store.target._settings for name, store in stores.items()}
    sections = {"targets": targets, "beat_popularity": False, **settings}
    return a_small_night(small_night / "source", lake, spark, publish=sections, **more)


def in_files(run: Run, table: str) -> list[dict[str, Any]]:
    return pq.read_table(run.lake / "warehouse" / table / f"ds={DATE}", partitioning=None).to_pylist()


def comparable(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """The rows in one order of rows and columns; numbers as float32, of which psql writes the shortest digits."""
    numbers = {"score", "vector"}
    exact = [row | {name: np.float32(row[name]).tolist() for name in numbers & row.keys()} for row in rows]
    return tuple(sorted(str(sorted(row.items())) for row in exact))


@pytest.mark.extended
def test_every_target_has_the_same_rows(
    spark: Any, small_night: Path, lake: Path, stores: dict[str, Store], hive: None
) -> None:
    night = night_of(small_night, lake, spark, stores, ["files", "hive", *stores], vectors={"enabled": True})
    write_vectors.run(night)
    assert publish.run(night).ran
    for table in tables_to_publish(night):
        in_hive = [row.asDict() for row in spark.table(f"kgspark.{table}").collect()]
        found = {"hive": in_hive, **{name: store.rows(table) for name, store in stores.items()}}
        assert {name: comparable(rows) for name, rows in found.items()} == dict.fromkeys(
            found, comparable(in_files(night.run, table))
        )
    how = night.run.manifest(USER_VECTORS).details["scoring"]["rank_by"]
    assert DeltaTable(stores["delta"].root / USER_VECTORS).history(1)[0]["kgspark.rank_by"] == how
    assert stores["iceberg"].table(USER_VECTORS).current_snapshot().summary["kgspark.rank_by"] == how
    told = night.run.manifest(PUBLISHED).details["targets"]
    assert {told[name]["version"] for name in ("files", "hive", *stores)} == {told["files"]["version"]}
    assert not publish.run(night).ran
    stores["delta"].spoil(RANKED[0], DATE)
    states = [stores[name].state() for name in ("iceberg", "postgres")]
    assert publish.run(night).ran
    assert [stores[name].state() for name in ("iceberg", "postgres")] == states
    assert not publish.run(night).ran


def test_a_failure_leaves_the_targets_before_it_and_the_next_run_completes(
    spark: Any, small_night: Path, lake: Path, stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = night_of(small_night, lake, spark, stores, ["files", "delta", "postgres"])
    password = stores["postgres"].server.password
    monkeypatch.setenv("OF_A_TEST", "wrong")
    with pytest.raises(StageError) as caught:
        publish.run(night)
    assert "password authentication failed" in str(caught.value)
    assert str(caught.value).endswith("done already: files, delta")
    [model] = held(lake).values()
    assert stores["delta"].target.held(lake) == {DATE: model}
    monkeypatch.setenv("OF_A_TEST", password)
    before = stores["delta"].state()
    assert publish.run(night).ran
    assert stores["delta"].state() == before
    assert stores["postgres"].target.held(lake) == {DATE: model}
    manifests = "".join(path.read_text() for path in lake.glob("runs/*/*/_manifest.json"))
    assert "${ENV:OF_A_TEST}" in manifests
    assert password not in manifests
