"""A shop's nights from its own PostgreSQL to Iceberg and back to PostgreSQL, in the shop's own words everywhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from answered import assert_answers_are_the_tables
from kgspark import redaction
from kgspark.night.night import Night
from kgspark.runs import Run
from kgspark.stages import nightly
from nights import a_night
from postgres import JDBC_DRIVER, Postgres
from worlds.shop import DAYS, TYPES, events
from worlds.stores import Iceberg, PostgreSql

NAMES = {"user": "visitor", "movie": "article", "movie_id": "sku", "genre": "shelf", "genres": "shelves"}
GROUPS, DATE = 3, DAYS[-1]
# Words of kgspark that the shop does not use. Names of tables and settings are kgspark's.
OURS = re.compile(r"\b(users?|movies?|genres?|user_id|movie_id)\b")
OF_SETTINGS = re.compile(r"source\.movies|no table users")


@pytest.fixture(scope="module")
def tables(postgres: Postgres, jdbc_jar: Path) -> Iterator[Postgres]:
    """The shop's tables of events and articles."""
    rows = [event.line.split(",") for event in events()]
    values = ", ".join(
        f"('{at.removesuffix('-05:00')}', '{visitor}', '{sku}', '{what}')" for at, visitor, sku, what in rows
    )
    skus = sorted({sku for _, _, sku, _ in rows})
    articles = ", ".join(f"('{sku}', 'Article {sku}', '{{shelf {sku[2]}}}')" for sku in skus)
    postgres.execute(
        "CREATE SCHEMA company; CREATE TABLE company.events (at timestamp(3), visitor text, sku text, what text);"
        f"INSERT INTO company.events VALUES {values};"
        "CREATE TABLE company.articles (sku text, name text, shelves text[]);"
        f"INSERT INTO company.articles VALUES {articles}"
    )
    yield postgres
    redaction._values.discard(postgres.password)


def _source(server: Postgres) -> dict[str, Any]:
    options = {"url": server.jdbc_url, "user": server.user, "password": "${ENV:OF_A_TEST}", "driver": JDBC_DRIVER}
    by_jdbc = {"format": "spark", "reader": "jdbc"}
    return {
        **by_jdbc,
        "options": {**options, "dbtable": "company.events"},
        "ids": "string",
        "timezone": "America/New_York",
        "columns": {
            "user": "visitor", "movie": "sku", "rating": None, "timestamp": "at", "event": "what",
            "title": "name", "genres": "shelves",
        },
        "events": TYPES,
        "movies": {**by_jdbc, "options": {**options, "dbtable": "company.articles"}},
    }  # fmt: skip


def _night(spark: Any, folder: Path, server: Postgres, stores: dict[str, Any], said: list[str]) -> Night:
    targets = {name: store.target._settings.model_dump() for name, store in stores.items()}
    night = a_night(
        folder / "lake",
        spark,
        said.append,
        source=_source(server),
        names=NAMES,
        train={"dim": 8, "epochs": 30, "learning_rate": 0.02, "temperature": 0.2, "device": "cpu", "threads": 1},
        recommend={"k": 3},
        audiences={"k": 3},
        similar_items={"enabled": True, "k": 3},
        publish={"targets": ["files", *stores], "beat_popularity": False, **targets},
    )
    return night.variant(night.settings.model_copy(update={"run_date": DATE}))


def test_events_of_a_database_become_tables_of_a_warehouse_in_the_shops_words(
    spark: Any, tables: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_A_TEST", tables.password)
    stores: dict[str, Any] = {"iceberg": Iceberg.embedded(tmp_path), "postgres": PostgreSql(tmp_path, tables)}
    said: list[str] = []
    night = _night(spark, tmp_path, tables, stores, said)
    nightly.run(night)

    _assert_planted(stores)
    _assert_own_columns(night.run, stores, tmp_path)
    assert_answers_are_the_tables(night.run.lake, DATE)
    told = [line for line in said if OURS.search(OF_SETTINGS.sub("", line))]
    assert told == []
    assert any("36 visitor" in line and "18 article" in line for line in said)
    assert not any(
        tables.password.encode() in path.read_bytes() for path in night.run.lake.rglob("*") if path.is_file()
    )

    again = _night(spark, tmp_path, tables, stores, said)
    nightly.run(again)
    assert [outcome.stage for outcome in again.outcomes if outcome.ran] in ([], ["clean-ratings"])


def _assert_planted(stores: dict[str, Any]) -> None:
    """A visitor is offered the missing article of the own group first; articles are like those of their group."""
    for store in stores.values():
        first = {row["visitor_id"]: row["sku"] for row in store.rows("recommendations") if int(row["rank"]) == 1}
        assert len(first) == 36
        assert sum(sku[2] == visitor[2] for visitor, sku in first.items()) >= 34, first
        similar = [(row["sku"], row["similar_sku"]) for row in store.rows("similar_items")]
        assert sum(sku[2] == other[2] for sku, other in similar) >= 0.9 * len(similar) > 40


def _assert_own_columns(run: Run, stores: dict[str, Any], folder: Path) -> None:
    columns = {
        "recommendations": ["visitor_id", "rank", "sku", "score", "source", "reason_sku", "model_id", "ds"],
        "audiences": ["sku", "rank", "visitor_id", "score", "source", "model_id", "ds"],
        "similar_items": ["sku", "rank", "similar_sku", "score", "source", "model_id", "ds"],
    }
    for table, names in columns.items():
        in_files = pq.read_table(run.lake / "warehouse" / table / f"ds={DATE}", partitioning=None)
        assert in_files.schema.names == names
        for store in stores.values():
            rows = store.rows(table)
            assert len(rows) == in_files.num_rows
            assert set(rows[0]) == set(names)
        with duckdb.connect() as connection:
            path = next((folder / "iceberg").rglob(f"*{table}*/data/**/*.parquet"))
            assert set(connection.sql(f"SELECT * FROM '{path}'").columns) >= set(names) - {"ds"}
