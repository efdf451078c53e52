"""The table stores among the targets, each with a reader and a writer that are not kgspark's own."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo

from kgspark.tables import RANKED
from kgspark.warehouse import hive
from kgspark.warehouse.delta import DeltaSettings, DeltaTarget
from kgspark.warehouse.iceberg import IcebergSettings, IcebergTarget
from kgspark.warehouse.postgres import PostgresSettings, PostgresTarget
from kgspark.warehouse.publications import PUBLICATIONS
from kgspark.warehouse.targets import Target
from postgres import Postgres


class Store(ABC):
    """A target that is a table store, empty at first."""

    target: Target

    @abstractmethod
    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a published table, `ds` as text; empty if the table is missing."""

    @abstractmethod
    def state(self) -> object:
        """Something that changes with every commit."""

    @abstractmethod
    def spoil(self, table: str, date: str) -> None:
        """Changes values of a date as another writer would do, and no number of rows."""

    @abstractmethod
    def cut(self, table: str, date: str) -> None:
        """Removes the row of user 1 of a date."""

    def models(self, table: str) -> dict[tuple[str, str], int]:
        """Number of rows of each date and model."""
        return Counter((row["ds"], row["model_id"]) for row in self.rows(table))


class Delta(Store):
    """Read by Polars and DuckDB, written by deltalake."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "delta"
        self.target = DeltaTarget(DeltaSettings(path=str(self.root)))

    def rows(self, table: str) -> list[dict[str, Any]]:
        path = self.root / table
        if not (path / "_delta_log").exists():
            return []
        found = polars.read_delta(str(path))
        with duckdb.connect() as connection:
            files = [] if found.is_empty() else DeltaTable(path).file_uris()
            counted = sum(connection.sql(f"SELECT count(*) FROM '{file}'").fetchall()[0][0] for file in files)
        assert counted == len(found)
        return found.to_dicts()

    def state(self) -> object:
        return {path.parent.name: DeltaTable(path.parent).version() for path in sorted(self.root.glob("*/_delta_log"))}

    def spoil(self, table: str, date: str) -> None:
        DeltaTable(self.root / table).update({"movie_id": "movie_id + 1000"}, predicate=f"ds = '{date}'")

    def cut(self, table: str, date: str) -> None:
        DeltaTable(self.root / table).delete(f"ds = '{date}' and user_id = 1")


class Iceberg(Store):
    """Read by PyIceberg and DuckDB, written by PyIceberg, in an embedded catalogue."""

    def __init__(self, folder: Path) -> None:
        folder.joinpath("iceberg").mkdir()
        self.catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/iceberg"}
        self.target = IcebergTarget(IcebergSettings(catalog=self.catalog))

    def table(self, name: str) -> Any:
        catalog = load_catalog("kgspark", **self.catalog)
        return catalog.load_table(("kgspark", name)) if catalog.table_exists(("kgspark", name)) else None

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = self.table(table)
        if found is None:
            return []
        scan = found.scan()
        with duckdb.connect() as connection:
            files = [task.file.file_path.removeprefix("file://") for task in scan.plan_files()]
            counted = sum(connection.sql(f"SELECT count(*) FROM '{file}'").fetchall()[0][0] for file in files)
        rows = scan.to_arrow().to_pylist()
        assert counted == len(rows)
        return rows

    def state(self) -> object:
        tables = filter(None, map(self.table, (*RANKED, PUBLICATIONS)))
        return [table.metadata_location for table in tables]

    def spoil(self, table: str, date: str) -> None:
        found = self.table(table)
        rows = [row | {"movie_id": row["movie_id"] + 1000} for row in self.rows(table)]
        spoiled = pa.Table.from_pylist([row for row in rows if row["ds"] == date], found.schema().as_arrow())
        found.overwrite(spoiled, EqualTo("ds", date))

    def cut(self, table: str, date: str) -> None:
        self.table(table).delete(f"ds = '{date}' and user_id = 1")


class PostgreSql(Store):
    """Read and written by psql, in a schema of its own."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self.server, self.schema = server, f"of {folder.name}"
        settings = PostgresSettings(
            uri=server.uri.replace(server.password, "${ENV:OF_A_TEST}"), schema_name=self.schema
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OF_A_TEST", server.password)
            self.target = PostgresTarget(settings)

    def rows(self, table: str) -> list[dict[str, Any]]:
        query = f'SELECT to_jsonb(found) FROM "{self.schema}"."{table}" AS found'
        known = self.server.execute(f"""SELECT to_regclass('"{self.schema}"."{table}"')""")
        return [json.loads(row) for (row,) in self.server.execute(query)] if known != [(None,)] else []

    def state(self) -> object:
        return self.server.execute(f'SELECT table_name, xmin FROM "{self.schema}".kgspark_published ORDER BY 1')

    def spoil(self, table: str, date: str) -> None:
        self.server.execute(f"""UPDATE "{self.schema}"."{table}" SET movie_id = movie_id + 1000 WHERE ds = '{date}'""")

    def cut(self, table: str, date: str) -> None:
        self.server.execute(f"""DELETE FROM "{self.schema}"."{table}" WHERE ds = '{date}' AND user_id = 1""")


@contextmanager
def hive_database(session: Any, folder: Path) -> Iterator[None]:
    """An empty database `kgspark` in the catalogue of the tests' session, which the target would refuse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hive, "_PASSING", "none")
        session.sql(f"CREATE DATABASE kgspark LOCATION '{folder}/hive'")
        try:
            yield
        finally:
            session.sql("DROP DATABASE kgspark CASCADE")


STORES = ("delta", "iceberg", "postgres")


def make_store(name: str, folder: Path, fixture: Callable[[str], Any]) -> Store:
    """An empty store of a name in STORES; `fixture` gives the value of a fixture that it needs."""
    match name:
        case "delta":
            return Delta(folder)
        case "iceberg":
            return Iceberg(folder)
        case "postgres":
            return PostgreSql(folder, fixture("postgres"))
    raise KeyError(name)
