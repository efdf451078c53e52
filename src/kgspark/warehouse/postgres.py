"""Target `postgres`: one table per published table, partitioned by `ds`, and a view of the newest date of each.

    recommendations, audiences, ...             partitions recommendations_2026_01_02, ...; key: ds, query, rank
    recommendations_latest, ...                 views: the rows of the newest date in kgspark_published
    kgspark_published                           what is published (see `publications`)

All rows of a night are replaced in one transaction, by COPY. Partitions are made in a transaction before it, because
that locks out readers, for a moment.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pydantic import Field, field_validator

from kgspark.config import Settings, from_environment, refuse_written_secrets
from kgspark.errors import BusyError, StageError
from kgspark.published_schemas import VECTOR_TYPE
from kgspark.redaction import hide
from kgspark.runs import Run
from kgspark.tables import DESCRIBED, PUBLISHABLE, Columns
from kgspark.warehouse.client_errors import other_writer, packages_of, refused
from kgspark.warehouse.publications import (
    PUBLICATIONS,
    PUBLICATIONS_SCHEMA,
    as_details,
    models_by_date,
    publications_of,
    same_publications,
)
from kgspark.warehouse.table_rows import TableRows, columns_to_add
from kgspark.warehouse.table_store import TableStore

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

# A statement that needs a table for itself waits so long for its readers, and meanwhile new readers wait for it.
_LOCK_SECONDS = 60
_LOCK_NOT_AVAILABLE = "55P03"
_TYPES = {
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.string(): "text",
    VECTOR_TYPE: "real[]",
}
_COMMENT_OF_VIEW = "The rows of the newest date in {}."
_COMMENT = "Written by kgspark. One partition per date; the newest date is in the view {}_latest."


class PostgresSettings(Settings):
    """The target postgres: PostgreSQL 13 or later, by ADBC (`pip install 'kgspark[postgres]'`)."""

    uri: str = Field(
        "postgresql://",
        description="postgresql://user:${ENV:NAME}@host:port/database; what it lacks comes from libpq's variables "
        "(PGHOST, PGPASSWORD, ...) and from ~/.pgpass",
    )
    schema_name: str = Field("kgspark", min_length=1, description="the schema of the tables; it is created if missing")

    @field_validator("uri")
    @classmethod
    def _no_password(cls, value: str) -> str:
        refuse_written_secrets({"uri": value})
        return value


class PostgresTarget(TableStore):
    """The tables in one schema. Functions as `Target` says."""

    def __init__(self, settings: PostgresSettings) -> None:
        with packages_of("postgres"):
            import adbc_driver_postgresql.dbapi  # noqa: F401
        self._settings = settings
        self._uri = from_environment("publish.postgres", {"uri": settings.uri})["uri"]
        hide(unquote(urlsplit(self._uri).password or ""))

    def publish(self, run: Run, tables: Sequence[str]) -> Mapping[str, Any]:
        """Makes what is missing in the schema, then replaces the date's rows of all tables in one transaction."""
        publications = publications_of(run, tables)
        if not self.is_there(run, tables):
            with self._session() as (connection, cursor):
                self._make_tables(cursor, [TableRows(run, table) for table in tables])
                connection.commit()
                for table in PUBLISHABLE:
                    self._delete(cursor, table, run.date)
                    if table in tables:
                        self._ingest(cursor, TableRows(run, table))
                self._delete(cursor, PUBLICATIONS, run.date)
                self._copy(cursor, PUBLICATIONS, _with_dates(publications).to_reader())
                connection.commit()
            if not self._holds(run, tables, contents=True):
                raise StageError(f"{self._address()}: what is read back is not what was written; run publish again")
        return {"schema": self._settings.schema_name, **as_details(publications)}

    def place(self, run: Run, table: str) -> str:
        """The address as it is configured, the table, and the date."""
        return f"{self._settings.uri} {self._settings.schema_name}.{table} ds={run.date}"

    def _address(self, lake: Path | None = None) -> str:
        return f"PostgreSQL, schema {self._settings.schema_name}"

    def held(self, lake: Path) -> Mapping[str, str]:
        """The model of each published date, from `kgspark_published`."""
        with self._session(locked=False) as (_, cursor):
            return models_by_date(self._publications(cursor))

    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """Takes the dates out of `kgspark_published`, and then drops all partitions that it does not name."""
        with self._session() as (connection, cursor):
            for date in dates:
                self._delete(cursor, PUBLICATIONS, date)
            connection.commit()
            named = models_by_date(self._publications(cursor))
            kept = {_partition(table, date) for table in PUBLISHABLE for date in named}
            for table in PUBLISHABLE:
                for partition in self._partitions(cursor, table):
                    if partition not in kept:
                        cursor.execute(f"DROP TABLE {self._name(partition)}")
            connection.commit()

    @contextmanager
    def _session(self, locked: bool = True) -> Iterator[tuple["Connection", "Cursor"]]:
        """A new connection with its cursor; what is not committed is taken back at the end.

        locked  for itself among all processes of kgspark that change the schema; BusyError if another one is
        """
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        try:
            with dbapi.connect(self._uri) as connection, connection.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
                if locked and not _value(cursor, _LOCK.format(_text(self._settings.schema_name))):
                    raise other_writer(self._address())
                yield connection, cursor
        except Error as error:
            if error.sqlstate == _LOCK_NOT_AVAILABLE:
                raise BusyError(
                    f"{self._address()}: a reader has kept a table for more than {_LOCK_SECONDS} seconds; nothing is "
                    "published there; run publish again"
                ) from error
            raise refused(self._address(), error) from error

    def _make_tables(self, cursor: "Cursor", tables: Sequence[TableRows]) -> None:
        """Makes the schema, the tables, their new columns and partitions, and the views, as far as they are missing."""
        schema = self._settings.schema_name
        if not _value(cursor, f"SELECT count(*) FROM pg_namespace WHERE nspname = {_text(schema)}"):
            cursor.execute(f"CREATE SCHEMA {_quoted(schema)}")
        if not self._columns(cursor, PUBLICATIONS):
            self._make_table(cursor, PUBLICATIONS, PUBLICATIONS_SCHEMA, PUBLICATIONS_SCHEMA.names[:2])
            cursor.execute(f"COMMENT ON TABLE {self._name(PUBLICATIONS)} IS 'What kgspark has published, by date.'")
        for rows in tables:
            self._make_published_table(cursor, rows)
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self._name(_partition(rows.table, rows.run.date))} "
                f"PARTITION OF {self._name(rows.table)} FOR VALUES IN ('{rows.run.date}')"
            )

    def _make_published_table(self, cursor: "Cursor", rows: TableRows) -> None:
        held, wanted = self._columns(cursor, rows.table), _columns(rows.schema)
        if not held:
            key = (Columns.DS, *rows.key)
            self._make_table(cursor, rows.table, rows.schema, key, f"PARTITION BY LIST ({Columns.DS})")
        added = columns_to_add(f"{self._address()}, table {rows.table}", held, wanted) if held else []
        for name in added:
            cursor.execute(f"ALTER TABLE {self._name(rows.table)} ADD COLUMN {_quoted(name)} {wanted[name]}")
        if added or not held:
            view = self._name(f"{rows.table}_latest")
            cursor.execute(
                f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {self._name(rows.table)} "
                f"WHERE {Columns.DS} = (SELECT max({Columns.DS}) FROM {self._name(PUBLICATIONS)})"
            )
        self._write_comments(cursor, rows)

    def _write_comments(self, cursor: "Cursor", rows: TableRows) -> None:
        """Says what the table, its view, and their columns hold, where they do not say it already."""
        described = rows.manifest.details.get(DESCRIBED, {})  # tables of earlier versions do not have it
        meaning = f"{described['table']}. " if described else ""
        for kind, name, text in (
            ("TABLE", rows.table, f"{meaning}{_COMMENT.format(rows.table)}"),
            ("VIEW", f"{rows.table}_latest", f"{meaning}{_COMMENT_OF_VIEW.format(rows.table)}"),
        ):
            wanted = {"": text, **described.get("columns", {})}
            held = self._comments(cursor, name)
            for column in wanted:
                if wanted[column] != held.get(column):
                    what = f"COLUMN {self._name(name)}.{_quoted(column)}" if column else f"{kind} {self._name(name)}"
                    cursor.execute(f"COMMENT ON {what} IS {_text(wanted[column])}")

    def _comments(self, cursor: "Cursor", name: str) -> dict[str, str]:
        """The comments on the columns of a table or view, and on itself under the name ''."""
        cursor.execute(
            "SELECT coalesce(attname, ''), description FROM pg_description LEFT JOIN pg_attribute "
            "ON attrelid = objoid AND attnum = objsubid AND objsubid > 0 "
            f"WHERE classoid = 'pg_class'::regclass AND objoid = to_regclass({_text(self._name(name))})"
        )
        return dict(cursor.fetchall())

    def _make_table(self, cursor: "Cursor", table: str, schema: pa.Schema, key: Sequence[str], more: str = "") -> None:
        columns = [f"{_quoted(name)} {kind}" for name, kind in _columns(schema).items()]
        columns.append(f"PRIMARY KEY ({', '.join(map(_quoted, key))})")
        cursor.execute(f"CREATE TABLE {self._name(table)} ({', '.join(columns)}) {more}")

    def _delete(self, cursor: "Cursor", table: str, date: str) -> None:
        if self._columns(cursor, table):
            cursor.execute(f"DELETE FROM {self._name(table)} WHERE ds = '{date}'")

    def _ingest(self, cursor: "Cursor", rows: TableRows) -> None:
        from adbc_driver_manager import Error

        stream = rows.stream()
        schema = _with_dates(rows.schema.empty_table()).schema
        batches = (_with_dates(batch) for batch in stream.reader)
        try:
            self._copy(cursor, rows.table, pa.RecordBatchReader.from_batches(schema, batches))
        except Error as error:
            raise stream.failure or error from error

    def _copy(self, cursor: "Cursor", table: str, reader: pa.RecordBatchReader) -> None:
        cursor.adbc_ingest(table, reader, mode="append", db_schema_name=self._settings.schema_name)

    def _publications(self, cursor: "Cursor", where: str = "true") -> pa.Table:
        if not self._columns(cursor, PUBLICATIONS):
            return PUBLICATIONS_SCHEMA.empty_table()
        return self._read(cursor, PUBLICATIONS, PUBLICATIONS_SCHEMA.names, where).read_all().cast(PUBLICATIONS_SCHEMA)

    def _holds(self, run: Run, tables: Sequence[str], contents: bool) -> bool:
        with self._session(locked=False) as (_, cursor):
            named = self._publications(cursor, f"ds = '{run.date}'")
            return same_publications(named, publications_of(run, tables)) and all(
                self._holds_table(cursor, TableRows(run, table), table in tables, contents) for table in PUBLISHABLE
            )

    def _holds_table(self, cursor: "Cursor", rows: TableRows, wanted: bool, contents: bool) -> bool:
        """True if a table has exactly the night's rows of the date, or none of the date if it is not `wanted`."""
        held, where = self._columns(cursor, rows.table), f"ds = '{rows.run.date}'"
        if not set(rows.schema.names) <= set(held) if wanted else not held:
            return not wanted
        if wanted and contents:
            return rows.content(self._read(cursor, rows.table, rows.schema.names, where)) == rows.manifest.content
        count = _value(cursor, f"SELECT count(*) FROM {self._name(rows.table)} WHERE {where}")
        return bool(count == (rows.manifest.rows if wanted else 0))

    def _read(self, cursor: "Cursor", table: str, columns: Sequence[str], where: str) -> pa.RecordBatchReader:
        """The rows, as a stream; `ds` is a text."""
        texts = [f"{_quoted(name)}::text AS {name}" if name == Columns.DS else _quoted(name) for name in columns]
        cursor.execute(f"SELECT {', '.join(texts)} FROM {self._name(table)} WHERE {where}")
        return cursor.fetch_record_batch()

    def _columns(self, cursor: "Cursor", table: str) -> dict[str, str]:
        """Names and types of a table's columns; empty if there is no table."""
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped "
            f"AND attrelid = to_regclass({_text(self._name(table))}) ORDER BY attnum"
        )
        return dict(cursor.fetchall())

    def _partitions(self, cursor: "Cursor", table: str) -> list[str]:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            f"WHERE inhparent = to_regclass({_text(self._name(table))}) ORDER BY relname"
        )
        return [name for (name,) in cursor.fetchall()]

    def _name(self, table: str) -> str:
        return f"{_quoted(self._settings.schema_name)}.{_quoted(table)}"


_LOCK = "SELECT pg_try_advisory_lock(hashtext('kgspark'), hashtext({}))"


def _value(cursor: "Cursor", query: str) -> Any:
    cursor.execute(query)
    [(value,)] = cursor.fetchall()
    return value


def _partition(table: str, date: str) -> str:
    return f"{table}_{date.replace('-', '_')}"


def _columns(schema: pa.Schema) -> dict[str, str]:
    """Names and PostgreSQL's types of a table's columns."""
    types = {field.name: _TYPES.get(field.type) or _no_type(field) for field in schema}
    return types | {Columns.DS: "date"}


def _no_type(field: pa.Field) -> str:
    raise StageError(f"PostgreSQL: no type is known for the column {field.name} of type {field.type}")


def _with_dates(rows: Any) -> Any:
    """A table or batch whose `ds` is a date."""
    place = rows.schema.get_field_index(Columns.DS)
    return rows.set_column(place, pa.field(Columns.DS, pa.date32()), rows.column(place).cast(pa.date32()))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
