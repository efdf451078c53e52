"""Every common reader reads the tables: a table's folder with all its dates, one date's folder, and by the pointer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from kgspark.runs import Run
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse import files
from worlds.published import ROWS_PER_FILE, rank

DATES = ("2026-02-03", "2026-02-04")
EACH = 2 * ROWS_PER_FILE

Rows = list[tuple[int, str]]
EXPECTED: Rows = [(user, date) for date in DATES for user in range(EACH)]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of both tables."""
    lake = tmp_path_factory.mktemp("lake")
    for date in DATES:
        files.publish(rank(Run(lake, date), f"model-{date}"), RANKED)
    return lake / "warehouse"


def rows_of(frame: pd.DataFrame) -> Rows:
    return sorted(((int(row.user_id), str(row.ds)[:10]) for row in frame.itertuples()), key=lambda row: row[::-1])


def from_duckdb(pattern: str, options: str = "") -> pd.DataFrame:
    return duckdb.sql(f"SELECT user_id, ds::VARCHAR AS ds FROM read_parquet('{pattern}'{options})").df()


def from_polars(folder: Path) -> pd.DataFrame:
    return pd.DataFrame(polars.read_parquet(folder).to_dicts())


# Each takes a folder, which has the files or folders of dates with the files.
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "pandas": pd.read_parquet,
    "pandas without partitions": lambda folder: pd.read_parquet(folder, partitioning=None),
    "pyarrow read_table": lambda folder: pq.read_table(folder).to_pandas(),
    "pyarrow dataset": lambda folder: ds.dataset(folder).to_table().to_pandas(),
    "pyarrow dataset with partitions": lambda folder: (
        ds.dataset(folder, partitioning=ds.HivePartitioning.discover(infer_dictionary=True)).to_table().to_pandas()
    ),
    "duckdb": lambda folder: from_duckdb(f"{folder}/**/*.parquet"),
    "duckdb with partitions": lambda folder: from_duckdb(f"{folder}/**/*.parquet", ", hive_partitioning = true"),
    "duckdb without partitions": lambda folder: from_duckdb(f"{folder}/**/*.parquet", ", hive_partitioning = false"),
    "polars": from_polars,
}


@pytest.fixture(params=[*READERS, "spark"])
def read(request: pytest.FixtureRequest) -> Callable[[Path], pd.DataFrame]:
    if request.param != "spark":
        return READERS[request.param]
    spark: Any = request.getfixturevalue("spark")
    return lambda folder: spark.read.parquet(str(folder)).toPandas()


@pytest.mark.parametrize("table", RANKED)
def test_a_tables_folder_as_a_whole(read: Callable[[Path], pd.DataFrame], warehouse: Path, table: str) -> None:
    assert rows_of(read(warehouse / table)) == EXPECTED


def test_the_folder_of_one_date(read: Callable[[Path], pd.DataFrame], warehouse: Path) -> None:
    assert rows_of(read(warehouse / RECOMMENDATIONS / f"ds={DATES[0]}")) == EXPECTED[:EACH]


@pytest.mark.parametrize("table", RANKED)
def test_the_newest_version_by_the_pointer(read: Callable[[Path], pd.DataFrame], warehouse: Path, table: str) -> None:
    latest = json.loads((warehouse / "_latest.json").read_text())
    found = read(warehouse / latest["tables"][table]["path"])
    assert rows_of(found) == EXPECTED[EACH:]
    if "model_id" in found:
        assert set(found["model_id"]) == {latest["model_id"]} == {f"model-{DATES[1]}"}


def test_the_pointers_list_of_files_in_duckdb(warehouse: Path) -> None:
    """The query that the docs show."""
    duckdb.sql(
        f"""
        SET VARIABLE path = (SELECT tables.recommendations.path FROM read_json('{warehouse}/_latest.json'))
        """
    )
    found = duckdb.sql(f"FROM read_parquet('{warehouse}/' || getvariable('path') || '/*.parquet')")
    assert len(found) == EACH


def test_filters_on_the_date(warehouse: Path) -> None:
    folder = warehouse / RECOMMENDATIONS
    assert len(pd.read_parquet(folder, filters=[("ds", "=", DATES[1])])) == EACH
    assert ds.dataset(folder).count_rows(filter=ds.field("ds") == DATES[1]) == EACH
    assert len(from_duckdb(f"{folder}/*/*.parquet").query(f"ds == '{DATES[1]}'")) == EACH
