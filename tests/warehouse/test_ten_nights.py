"""Retention over ten nights of every target, the clean-up of the platform, and the way back in one command."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kgspark.night.night import Night
from kgspark.night.reads import each_target
from kgspark.stages import publish
from kgspark.tables import RANKED
from kgspark.tools import rollback
from kgspark.warehouse.publications import PUBLICATIONS
from kgspark.warehouse.targets import TARGETS
from kgspark.warehouse.versions import Warehouse
from nights import a_night
from postgres import Postgres
from worlds.published import ROWS_PER_FILE, by_pointer, only, rank
from worlds.stores import Delta, Iceberg, PostgreSql, Store, hive_database

DATES = [f"2026-02-{day:02d}" for day in range(1, 11)]
FILES = 2
ALL = FILES * ROWS_PER_FILE

pytestmark = pytest.mark.extended


@pytest.fixture
def stores(
    spark: Any, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Store]]:
    monkeypatch.setenv("OF_A_TEST", postgres.password)
    with hive_database(spark, tmp_path):
        yield {
            "delta": Delta(f"{tmp_path}/delta"),
            "iceberg": Iceberg.embedded(tmp_path),
            "postgres": PostgreSql(tmp_path, postgres),
        }


def night_of(date: str, lake: Path, spark: Any, stores: dict[str, Store]) -> Night:
    settings = {name: store.target._settings for name, store in stores.items()}
    return a_night(
        lake,
        spark,
        run_date=date,
        source={"path": "unread"},
        publish={"targets": list(TARGETS), **settings},
        keep={"nights": 5, "published": 3, "versions": 1},
    )


def test_ten_nights(spark: Any, stores: dict[str, Store], tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for number, date in enumerate(DATES):
        # The second one is published twice, so that there is a version that was replaced.
        for model in (f"replaced {date}", f"of {date}")[number != 1 :]:
            publish_and_keep(night_of(date, lake, spark, stores), model)
        check(DATES[max(number - 2, 0) : number + 1], lake, spark, stores)
    assert sorted(path.name for path in (lake / "runs").iterdir()) == DATES[5:]
    # Those of the three dates, and the last one that lost its date.
    assert len(list(Warehouse.of(lake).versions.iterdir())) == 4
    assert known_files(stores["iceberg"], RANKED[0]) == 11
    clean_up(stores)
    check(DATES[7:], lake, spark, stores)
    on_disk = {table: len(list((tmp_path / "delta" / table).glob("**/*.parquet"))) for table in RANKED}
    assert on_disk == dict.fromkeys(RANKED, 3)
    # The tags of three dates have the three dates of their time each, and the one that was removed after it.
    assert {table: known_files(stores["iceberg"], table) for table in RANKED} == dict.fromkeys(RANKED, 6)
    rollback.run(night_of(DATES[7], lake, spark, stores))
    check(DATES[7:8], lake, spark, stores, folders=DATES[7:])


def publish_and_keep(night: Night, model: str) -> None:
    """The stage `publish` without gate and audit, which would refuse such small tables."""
    rank(night.run, model, files=FILES)
    each_target(night, lambda name, target: target.publish(night.run, RANKED))
    publish._remove_old(night, None)


def check(dates: list[str], lake: Path, spark: Any, stores: dict[str, Store], folders: list[str] | None = None) -> None:
    """Each target has the whole tables of these dates, and no others; the newest one is the current one."""
    models = {date: f"of {date}" for date in dates}
    whole = dict.fromkeys(models.items(), ALL)
    for store in stores.values():
        assert store.target.held(lake) == models
        assert {row["ds"] for row in store.rows(PUBLICATIONS)} == set(dates)
        assert all(store.models(table) == whole for table in RANKED)
    for table in RANKED:
        rows = spark.sql(f"SELECT ds, model_id, count(*) FROM kgspark.{table} GROUP BY ds, model_id").collect()
        assert {(row[0], row[1]): row[2] for row in rows} == whole
    newest = models[dates[-1]]
    assert by_pointer(lake) == (newest, only(newest, files=FILES))
    assert Warehouse.of(lake).dates() == sorted(folders or dates, reverse=True)


def known_files(store: Any, table: str) -> int:
    """The number of data files that a snapshot of the table has; the platform removes all others as orphans."""
    return len(set(store.table(table).inspect.all_data_files()["file_path"].to_pylist()))


def clean_up(stores: dict[str, Any]) -> None:
    """What docs/targets.md leaves to the platform, at a time when versions, tags and snapshots have expired."""
    for table in (*RANKED, PUBLICATIONS):
        found = stores["delta"].table(table)
        found.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
        found = stores["iceberg"].table(table)
        for tag in set(found.refs()) & set(DATES[:7]):
            found.manage_snapshots().remove_tag(tag).commit()
        found.maintenance.expire_snapshots().older_than(datetime(2100, 1, 1)).commit()
