"""The table stores among the targets, each with a reader and a writer that are not kgspark's own."""

import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from obstore.fsspec import FsspecStore
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo

from kgspark.config import from_environment
from kgspark.tables import RANKED
from kgspark.warehouse import hive
from kgspark.warehouse.delta import DeltaSettings, DeltaTarget
from kgspark.warehouse.iceberg import IcebergSettings, IcebergTarget
from kgspark.warehouse.postgres import PostgresSettings, PostgresTarget
from kgspark.warehouse.publications import PUBLICATIONS
from kgspark.warehouse.targets import Target
from postgres import Postgres
from s3_server import S3

# A date and its model, and the number of their rows in each table.
Reading = tuple[tuple[str, str], dict[str, int]]


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

    def newest(self) -> Reading:
        """The newest date and its model, and the number of their rows in each table, as docs/targets.md says."""
        night = max((row["ds"], row["model_id"]) for row in self.rows(PUBLICATIONS))
        return night, {table: self.models(table).get(night, 0) for table in RANKED}


class Delta(Store):
    """Read by Polars and DuckDB, written by deltalake."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.target = DeltaTarget(DeltaSettings(path=root))

    def table(self, name: str) -> DeltaTable | None:
        path = f"{self.root}/{name}"
        return DeltaTable(path) if DeltaTable.is_deltatable(path) else None

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = self.table(table)
        if found is None:
            return []
        # Of one version, because a reader may come between two commits.
        rows = polars.read_delta(f"{self.root}/{table}", version=found.version()).to_dicts()
        assert count_in(found.file_uris()) == len(rows)
        return rows

    def state(self) -> object:
        tables = {name: self.table(name) for name in (*RANKED, PUBLICATIONS)}
        return {name: table.version() for name, table in tables.items() if table is not None}

    def spoil(self, table: str, date: str) -> None:
        DeltaTable(f"{self.root}/{table}").update({"movie_id": "movie_id + 1000"}, predicate=f"ds = '{date}'")

    def cut(self, table: str, date: str) -> None:
        DeltaTable(f"{self.root}/{table}").delete(f"ds = '{date}' and user_id = 1")


class Iceberg(Store):
    """Read by PyIceberg and DuckDB, written by PyIceberg.

    catalog  PyIceberg's properties
    """

    def __init__(self, catalog: Mapping[str, str], namespace: str = "kgspark") -> None:
        self.catalog, self.namespace = dict(catalog), namespace
        self.target = IcebergTarget(IcebergSettings(catalog=self.catalog, namespace=namespace))

    @classmethod
    def embedded(cls, folder: Path, warehouse: str | None = None) -> "Iceberg":
        """In SQLite in the folder; the tables are there too, or in `warehouse`."""
        folder.joinpath("iceberg").mkdir()
        catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db"}
        return cls(catalog | {"warehouse": warehouse or f"file://{folder}/iceberg"})

    def table(self, name: str) -> Any:
        on_s3 = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL"), "s3.region": os.environ.get("AWS_REGION")}
        catalog = load_catalog("kgspark", **from_environment("catalog", self.catalog), **on_s3)
        identifier = (self.namespace, name)
        return catalog.load_table(identifier) if catalog.table_exists(identifier) else None

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = self.table(table)
        if found is None:
            return []
        scan = found.scan()
        rows = scan.to_arrow().to_pylist()
        assert count_in(task.file.file_path for task in scan.plan_files()) == len(rows)
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


def count_in(files: Iterable[str]) -> int:
    """The number of rows in Parquet files, by DuckDB; those on S3 through obstore."""
    with duckdb.connect() as connection:
        paths = [file.removeprefix("file://") for file in files]
        if any(path.startswith("s3://") for path in paths):
            connection.register_filesystem(FsspecStore("s3"))
        return sum(connection.sql(f"SELECT count(*) FROM '{path}'").fetchall()[0][0] for path in paths)


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

    def newest(self) -> Reading:
        parts = [
            f"SELECT '{table}', ds, model_id, count(*) FROM \"{self.schema}\".{table}_latest GROUP BY ds, model_id"
            for table in RANKED
        ]
        rows = self.server.execute(" UNION ALL ".join(parts))
        [night] = {(str(ds), str(model)) for _, ds, model, _ in rows}
        return night, dict.fromkeys(RANKED, 0) | {str(table): int(str(number)) for table, _, _, number in rows}

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
# The same on the S3 server of the tests; the last one has its own catalogue.
ON_S3 = ("delta on s3", "iceberg on s3", "iceberg of rest")


def make_store(name: str, folder: Path, fixture: Callable[[str], Any]) -> Store:
    """An empty store of a name in STORES or ON_S3; `fixture` gives the value of a fixture that it needs."""
    match name:
        case "delta":
            return Delta(f"{folder}/delta")
        case "iceberg":
            return Iceberg.embedded(folder)
        case "postgres":
            return PostgreSql(folder, fixture("postgres"))
    server: S3 = fixture("s3")
    server.use(fixture("monkeypatch"))
    match name:
        case "delta on s3":
            return Delta(server.new_uri())
        case "iceberg on s3":
            return Iceberg.embedded(folder, server.new_uri())
        case "iceberg of rest":
            return Iceberg(server.iceberg_catalog, f"of_{folder.name}")
    raise KeyError(name)
