"""A new target is one module and one entry of TARGETS: a real night publishes to it and to `files`."""

import json
import shutil
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from kgspark.files import hash_file
from kgspark.night.night import Night
from kgspark.runs import Run
from kgspark.stages import nightly, publish
from kgspark.tables import AUDIENCES, PUBLISHED, RANKED, RECOMMENDATIONS
from kgspark.warehouse.targets import TARGETS
from nights import DATE, a_small_night

pytestmark = pytest.mark.slow


class SqliteTarget:
    """A toy: one SQLite table per published table, in `<lake>/published.db`; it keeps the latest date only."""

    def publish(self, run: Run, tables: Sequence[str]) -> dict[str, int]:
        """Replaces all tables in one transaction; returns their numbers of rows."""
        with closing(self._connect(run)) as database, database:
            for table in RANKED:
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for table in tables:
                rows = ds.dataset(sorted(run.table(table).glob("*.parquet"))).to_table()
                database.execute(f"CREATE TABLE {table} ({', '.join(rows.column_names)})")
                marks = ", ".join("?" * rows.num_columns)
                values = zip(*(column.to_pylist() for column in rows.columns), strict=True)
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
        return {table: run.manifest(table).rows for table in tables}

    def is_there(self, run: Run, tables: Sequence[str]) -> bool:
        """True if the database has exactly these tables, with the night's numbers of rows."""
        with closing(self._connect(run)) as database:
            found = [name for (name,) in database.execute("SELECT name FROM sqlite_master ORDER BY name")]
            counts = {
                name: database.execute(f"SELECT count(*) FROM {name} WHERE ds = ?", [run.date]).fetchone()[0]
                for name in found
            }
        return counts == {table: run.manifest(table).rows for table in tables}

    def place(self, run: Run, table: str) -> str:
        """Database and table."""
        return f"{run.lake / 'published.db'}:{table}"

    def held(self, lake: Path) -> dict[str, str]:
        """The model of the date that the database has."""
        with closing(sqlite3.connect(lake / "published.db")) as database:
            return dict(database.execute("SELECT DISTINCT ds, model_id FROM recommendations"))

    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """Empties the tables if they are of one of these dates."""
        with closing(sqlite3.connect(lake / "published.db")) as database, database:
            for table, date in product(RANKED, dates):
                database.execute(f"DELETE FROM {table} WHERE ds = ?", [date])

    def roll_back(self, run: Run) -> str:
        """Nothing to do: the database has one date."""
        return "it has one date only"

    def _connect(self, run: Run) -> sqlite3.Connection:
        return sqlite3.connect(run.lake / "published.db")


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def toy() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TARGETS, "sqlite", lambda settings, spark: SqliteTarget())
        yield


@pytest.fixture(scope="module")
def night(spark: Any, small_night: Path, toy: None, said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night of the small world that was ranked already, published to both targets."""
    lake = tmp_path_factory.mktemp("night") / "lake"
    shutil.copytree(small_night / "lake", lake)
    shutil.rmtree(lake / "warehouse")
    publish = {"targets": ["files", "sqlite"], "beat_popularity": False}
    night = a_small_night(small_night / "source", lake, spark, said.append, publish=publish)
    nightly.run(night)
    return night


def lists(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: row[:3])


# The tables of this night.
TABLES = (RECOMMENDATIONS, AUDIENCES)


def in_files(night: Night, table: str) -> list[tuple[Any, ...]]:
    found = pq.read_table(night.run.lake / "warehouse" / table / f"ds={DATE}", partitioning=None)
    return lists([tuple(row.values()) for row in found.to_pylist()])


def in_sqlite(night: Night, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(night.run.lake / "published.db")) as database:
        return lists(database.execute(f"SELECT * FROM {table}").fetchall())


def test_both_targets_hold_the_same_rows(night: Night) -> None:
    for table in TABLES:
        assert len(in_files(night, table)) == night.run.manifest(table).rows > 0
        assert in_sqlite(night, table) == in_files(night, table)


def test_the_summary_names_the_location_in_each_target(night: Night, said: list[str]) -> None:
    places = [line.split(" rows in ")[1] for line in said[-1].splitlines() if " rows in " in line]
    warehouse, database = night.run.lake / "warehouse", night.run.lake / "published.db"
    assert places == [
        f"{warehouse}/recommendations/ds={DATE}",
        f"{database}:recommendations",
        f"{warehouse}/audiences/ds={DATE}",
        f"{database}:audiences",
    ]


def test_a_night_that_lies_in_both_is_current_until_one_of_them_is_emptied(night: Night) -> None:
    assert not publish.run(night).ran
    with closing(sqlite3.connect(night.run.lake / "published.db")) as database, database:
        database.execute("DROP TABLE audiences")
    assert publish.run(night).ran
    assert in_sqlite(night, "audiences") == in_files(night, "audiences")
    for file in (night.run.lake / "warehouse" / "recommendations" / f"ds={DATE}").iterdir():
        file.unlink()
    assert publish.run(night).ran
    assert in_files(night, "recommendations") == in_sqlite(night, "recommendations")
    assert not publish.run(night).ran


def test_the_manifest_lists_what_was_published_in_each_target(night: Night) -> None:
    targets = night.run.manifest(PUBLISHED).details["targets"]
    assert targets["sqlite"] == {table: night.run.manifest(table).rows for table in TABLES}
    warehouse = night.run.lake / "warehouse"
    for table, listed in targets["files"]["tables"].items():
        folder = warehouse / listed["path"]
        assert {file["name"]: (file["bytes"], file["sha256"]) for file in listed["files"]} == {
            path.name: (path.stat().st_size, hash_file(path)) for path in folder.glob("*.parquet")
        }
        assert {path.name for path in folder.iterdir()} == {
            path.name for path in (warehouse / table / f"ds={DATE}").iterdir()
        }


@pytest.mark.extended
def test_a_new_list_of_targets_publishes_again(night: Night) -> None:
    only_files = night.settings.publish.model_copy(update={"targets": ("files",)})
    assert publish.run(night.variant(night.settings.model_copy(update={"publish": only_files}))).ran


@pytest.mark.extended
def test_the_same_date_without_audiences_removes_those_of_the_earlier_model(night: Night, said: list[str]) -> None:
    """Case 25 of public reports: audiences of one model beside recommendations of another. `keep` is applied, too."""
    settings = night.settings.model_copy(
        update={
            "keep": night.settings.keep.model_copy(update={"nights": 1}),
            "audiences": night.settings.audiences.model_copy(update={"enabled": False}),
            "train": night.settings.train.changed({"seed": 7}),
        }
    )
    before = night.run.manifest(RECOMMENDATIONS).details["model_id"]
    Run(night.run.lake, "2025-01-01").folder.mkdir()
    nightly.run(night.variant(settings))
    assert [path.name for path in (night.run.lake / "runs").iterdir()] == [DATE]
    assert any(line.endswith("keep: removed nights: 2025-01-01") for line in said)
    assert not (night.run.lake / "warehouse" / AUDIENCES / f"ds={DATE}").exists()
    latest = json.loads((night.run.lake / "warehouse" / "_latest.json").read_text())
    assert list(latest["tables"]) == [RECOMMENDATIONS]
    assert latest["model_id"] != before
    with closing(sqlite3.connect(night.run.lake / "published.db")) as database:
        found = database.execute("SELECT DISTINCT model_id FROM recommendations").fetchall()
        assert found == [(latest["model_id"],)]
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [(RECOMMENDATIONS,)]
