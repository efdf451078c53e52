"""Target `hive`: one external table per published table in Spark's catalogue, with a partition per date.

A partition's LOCATION is the folder of the date's version in `<lake>/warehouse/_versions/`, whose files never change.
So the target `files` must have published before. To publish a date again is to name another folder.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pydantic import Field

from kgspark.causes import cause_of
from kgspark.config import Settings, SqlName
from kgspark.errors import StageError
from kgspark.published_schemas import VECTOR_TYPE
from kgspark.runs import Run
from kgspark.tables import PUBLISHABLE, Columns
from kgspark.warehouse.client_errors import one_line, refused
from kgspark.warehouse.files import warehouse_of
from kgspark.warehouse.table_rows import TableRows, columns_to_add
from kgspark.warehouse.table_store import TableStore
from kgspark.warehouse.versions import Version

# The catalogue that ends with the session, and the setting that plugs in another one.
_PASSING, _PLUGGED_IN = "in-memory", "spark.sql.catalog.spark_catalog"
_TYPES = {
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.string(): "string",
    VECTOR_TYPE: "array<float>",
}


class HiveSettings(Settings):
    """The target hive: tables in Spark's catalogue (spark.conf.spark.sql.catalogImplementation: hive)."""

    database: SqlName = Field("kgspark", description="the database of the tables; it is created if missing")


class HiveTarget(TableStore):
    """The tables in one database of the session's catalogue. Functions as `Target` says."""

    def __init__(self, settings: HiveSettings, spark: Callable[[], Any]) -> None:
        self._settings, self._spark = settings, spark

    def publish(self, run: Run, tables: Sequence[str]) -> Mapping[str, Any]:
        """Names the version's folder as the date's partition of each table; an error takes all of it back."""
        version = _version_in_place(run, tables)
        if not self.is_there(run, tables):
            with one_line(self._address()), ExitStack() as undo:
                if not self._session().catalog.databaseExists(self._settings.database):
                    self._sql(f"CREATE DATABASE IF NOT EXISTS {self._settings.database}")
                for table in PUBLISHABLE:
                    if table in tables:
                        self._make_table(TableRows(run, table))
                    if self._exists(table):
                        before, after = self._location(table, run.date), _folder(run.lake, version, table)
                        undo.callback(self._point, table, run.date, before)
                        self._point(table, run.date, after)
                if not self._holds(run, tables, contents=True):
                    raise StageError(f"{self._address()}: what is read back is not what was written; run publish again")
                undo.pop_all()
        return {"database": self._settings.database, Columns.MODEL_ID: version.model_id, "version": version.id}

    def place(self, run: Run, table: str) -> str:
        """The table in the catalogue, and the partition."""
        return f"hive {self._name(table)} ds={run.date}"

    def held(self, lake: Path) -> Mapping[str, str]:
        """The model of each date with a partition; empty if its version is no more in the warehouse."""
        with one_line(self._address()):
            dates = {date for table in PUBLISHABLE for date in self._dates(table)}
        versions = {date: warehouse_of(lake).in_place(date) for date in sorted(dates, reverse=True)}
        return {date: version.model_id if version else "" for date, version in versions.items()}

    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """Drops the partitions of the dates. The files stay."""
        with one_line(self._address()):
            for table in PUBLISHABLE:
                partitions = [_partition(date) for date in self._dates(table) if date in dates]
                if partitions:
                    self._sql(f"ALTER TABLE {self._name(table)} DROP IF EXISTS {', '.join(partitions)}")

    def _address(self, lake: Path | None = None) -> str:
        return f"Spark's catalogue, database {self._settings.database}"

    def _sql(self, statement: str) -> list[Any]:
        session = self._session()
        try:
            return list(session.sql(statement).collect())
        except Exception as error:  # the first line of a Java exception says nothing, as that of a missing connector
            raise refused(self._address(), RuntimeError(cause_of(error))) from error

    def _session(self) -> Any:
        session = self._spark()
        if session.conf.get("spark.sql.catalogImplementation") == _PASSING and not session.conf.get(_PLUGGED_IN, None):
            raise StageError(
                "publish.targets: hive needs a catalogue that outlives the session; set "
                "spark.conf.spark.sql.catalogImplementation=hive, and the address of its metastore"
            )
        return session

    def _make_table(self, rows: TableRows) -> None:
        """Makes the table, or its new columns, as far as they are missing."""
        wanted = {field.name: _TYPES.get(field.type, str(field.type)) for field in rows.schema}
        if not self._exists(rows.table):
            columns = ", ".join(f"`{name}` {kind}" for name, kind in wanted.items())
            self._sql(
                f"CREATE TABLE IF NOT EXISTS {self._name(rows.table)} ({columns}) USING parquet "
                f"PARTITIONED BY ({Columns.DS}) LOCATION {_text(warehouse_of(rows.run.lake).table_of(rows.table))}"
            )
        schema = self._session().table(self._name(rows.table)).schema
        held = {field.name: field.dataType.simpleString() for field in schema}
        added = columns_to_add(f"{self._address()}, table {rows.table}", held, wanted)
        if added:
            columns = ", ".join(f"`{name}` {wanted[name]}" for name in added)
            self._sql(f"ALTER TABLE {self._name(rows.table)} ADD COLUMNS ({columns})")

    def _point(self, table: str, date: str, folder: str | None) -> None:
        """Lets the date's partition be a folder; without one, there is no partition."""
        change = f"ALTER TABLE {self._name(table)}"
        if folder is None:
            self._sql(f"{change} DROP IF EXISTS {_partition(date)}")
        elif self._location(table, date) is None:
            self._sql(f"{change} ADD {_partition(date)} LOCATION {_text(folder)}")
        else:
            self._sql(f"{change} {_partition(date)} SET LOCATION {_text(folder)}")

    def _location(self, table: str, date: str) -> str | None:
        """The place of the date's partition; None without one."""
        if date not in self._dates(table):
            return None
        described = self._sql(f"DESCRIBE EXTENDED {self._name(table)} {_partition(date)}")
        location = next(row.data_type for row in described if row.col_name == "Location")
        parts = urlsplit(location)
        path = unquote(parts.path)
        return path if parts.scheme in ("", "file") else f"{parts.scheme}://{parts.netloc}{path}"

    def _exists(self, table: str) -> bool:
        return bool(self._session().catalog.tableExists(self._name(table)))

    def _dates(self, table: str) -> list[str]:
        if not self._exists(table):
            return []
        return [row.partition.removeprefix("ds=") for row in self._sql(f"SHOW PARTITIONS {self._name(table)}")]

    def _holds(self, run: Run, tables: Sequence[str], contents: bool) -> bool:
        """True if the partitions of the date are the folders of the night's version, whose bytes `files` checks."""
        version = Version.of(run, tables)
        with one_line(self._address()):
            return all(
                self._location(table, run.date) == _folder(run.lake, version, table)
                and not (
                    contents and table in version.tables and self._count(table, version) != run.manifest(table).rows
                )
                for table in PUBLISHABLE
            )

    def _count(self, table: str, version: Version) -> int:
        """The number of rows of the version's date and model."""
        condition = f"{Columns.DS} = '{version.date}' AND {Columns.MODEL_ID} = {_text(version.model_id)}"
        [(rows,)] = self._sql(f"SELECT count(*) FROM {self._name(table)} WHERE {condition}")
        return int(rows)

    def _name(self, table: str) -> str:
        return f"{self._settings.database}.{table}"


def _version_in_place(run: Run, tables: Sequence[str]) -> Version:
    """The night's version; StageError if the target `files` does not have it."""
    version, warehouse = Version.of(run, tables), warehouse_of(run.lake)
    if warehouse.in_place(run.date) != version:
        raise StageError(
            f"{warehouse.address}: tonight's tables are not published here, and hive's partitions are these folders; "
            "list files before hive in publish.targets"
        )
    return version


def _folder(lake: Path, version: Version, table: str) -> str | None:
    """The place of a table's files in the version; None if it is without that table."""
    return warehouse_of(lake).version_of(version, table) if table in version.tables else None


def _partition(date: str) -> str:
    return f"PARTITION ({Columns.DS} = '{date}')"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
