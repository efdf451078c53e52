"""Tables that Spark opens, of its catalogue or by one of its readers: their version, and the copy that a night cleans.

Only a copy has rows that stay the same, and a place for each: the connector of a database would answer every job of the
night with the rows of that moment. What was copied is what the night is signed with.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import DataType

from kgspark.causes import cause_of, condition_in
from kgspark.errors import InputError
from kgspark.redaction import redact
from kgspark.spark.cleaning.settings import Location
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.parquet_files import column_types
from kgspark.spark.frames import collect_content, quoted, write_table
from kgspark.spark.jvm.sql_parser import has_jvm
from kgspark.spark.stored import bring_here

# What a version begins with that is the hash of the rows, because the table has no other.
_CONTENT = "content "
_JDBC = "jdbc"
_JDBC_DEFAULTS = {
    # A time without a zone keeps its digits. Otherwise it would be a moment in the time zone of this machine.
    "preferTimestampNTZ": True,
    # By default, PostgreSQL's driver and others keep the whole table in memory.
    "fetchsize": 10_000,
}
# Options that say which rows of a table JDBC reads, and in which parts.
_JDBC_ROWS = {"dbtable", "query", "partitioncolumn", "lowerbound", "upperbound", "numpartitions"}
# Errors of Spark by a pattern of their text, with a sentence that says what to do.
_ERRORS = (
    (
        r"DATA_SOURCE_NOT_FOUND|DATA_SOURCE_NOT_ENABLED|Failed to find (?:the )?data source",
        "Spark has no reader {reader!r}; correct {key}.reader, or name the jar of the reader in spark.conf.spark.jars",
    ),
    (
        r"No suitable driver|ClassNotFoundException: \S*[Dd]river",
        "Spark has no such JDBC driver; name its jar in spark.conf.spark.jars and its class in {key}.options.driver",
    ),
    (
        r"TABLE_OR_VIEW_NOT_FOUND|SCHEMA_NOT_FOUND|REQUIRES_SINGLE_PART_NAMESPACE|CATALOG_NOT_FOUND",
        "no such table in Spark's catalogue; correct {key}.table, or set up its catalogue in spark.conf",
    ),
    (r"PATH_NOT_FOUND", "no such path; correct {key}.path"),
)


def open_table(session: SparkSession, location: Location, key: str) -> DataFrame:
    """The table with all of its columns. Lazy, but the reader asks the store for their types.

    key  the dotted key of the location, for messages
    Raises InputError, in one line, for whatever is missing or not allowed.
    """
    options = location.resolved_options(key)
    if location.reader == _JDBC:
        options = {**_JDBC_DEFAULTS, **options}
    with _one_line(location, key):
        if location.table is not None:
            return session.read.options(**options).table(location.table)
        reader = session.read.format(location.reader or "").options(**options)
        return reader.load(location.path) if location.path else reader.load()


def table_version(session: SparkSession, location: Location, key: str) -> str | None:
    """The present version of the table: what `location.version` says, or that of its format; None if there is none."""
    if location.version is not None:
        with _one_line(location, key):
            return _version_by_column(session, location, key, location.version)
    try:
        return _version_of_format(session, location, key)
    except (PySparkException, Py4JJavaError):
        return None  # the table, or this version of its format, does not tell: its rows are hashed instead


def content_version(session: SparkSession, location: Location, key: str) -> str:
    """The version of a table that has no other: the hash of its rows. Reads all of them."""
    with _one_line(location, key):
        return _CONTENT + collect_content(open_table(session, location, key))


def is_content(version: str) -> bool:
    """True if the version was found by reading the table."""
    return version.startswith(_CONTENT)


def copy_table(
    session: SparkSession,
    location: Location,
    key: str,
    columns: Mapping[str, str],
    required: Collection[str],
    folder: Path,
) -> SourceFiles:
    """Reads the columns of a table once, and writes them as Parquet below `folder`.

    columns   our names of the columns, by the source's names; other columns are not read
    required  the source's names that must be there

    The version of the copy is that of the table, unless it changed meanwhile: then it is the hash of the rows.
    Raises InputError as `open_table` does, and for a column that is missing or of a type that cleaning does not read.
    """
    before = table_version(session, location, key)
    table = open_table(session, location, key)
    found = [name for name in columns if name in table.columns]
    column_types(key, _arrow_schema(table), columns, required)
    copy = folder.absolute() / re.sub(r"[^\w.-]+", "_", location.name.rstrip("/").rpartition("/")[2])
    folder.mkdir(parents=True)
    with _one_line(location, key):
        written = write_table(table.select(*map(quoted, found)), copy)
        bring_here(session, copy)  # the footers are read here
    after = table_version(session, location, key)
    version = before if before is not None and before == after else f"{_CONTENT}{written.content}"
    files = tuple(copy / file.name for file in written.files)
    return SourceFiles(location.name, copy.parent, files, version=version)


@contextmanager
def _one_line(location: Location, key: str) -> Iterator[None]:
    """Errors of Spark as InputError of one line, unless they tell of a condition of the machine."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        text = str(error)
        if condition_in(text):
            raise
        told = next((sentence for pattern, sentence in _ERRORS if re.search(pattern, text)), None)
        if told is None:
            told = f"it cannot be read: {cause_of(error)}; correct its name or options, or the rights of its user"
        sentence = told.format(key=key, reader=location.reader) if "{key}" in told else told
        raise InputError(redact(f"{key}: {location.name}: {sentence}")) from error


def _version_by_column(session: SparkSession, location: Location, key: str, column: str) -> str:
    """The maximum of the column, and the number of rows. A database computes both itself, but for Spark Connect, where
    nobody tells how it quotes a name."""
    options = location.resolved_options(key)
    if location.reader == _JDBC and has_jvm(session):
        by_name = {name.lower(): value for name, value in options.items()}
        jvm: Any = session._jvm
        dialects = jvm.org.apache.spark.sql.jdbc.JdbcDialects
        name = dialects.get(by_name.get("url", "")).quoteIdentifier(column)
        table = by_name.get("dbtable") or f"({by_name.get('query')}) kgspark_rows"
        query = f"SELECT max({name}) AS latest, count(*) AS row_count FROM {table}"
        others = {name: value for name, value in options.items() if name.lower() not in _JDBC_ROWS}
        found = session.read.format(_JDBC).options(**others, query=query).load()
    else:
        found = open_table(session, location, key).agg(F.max(quoted(column)), F.count(F.lit(1)))
    latest, rows = found.collect()[0]
    return f"{column} {latest} of {rows} rows"


def _version_of_format(session: SparkSession, location: Location, key: str) -> str | None:
    """Delta's version or Iceberg's snapshot; None for other formats."""
    provider = _provider(session, location)
    if provider == "delta":
        name = location.table or f"delta.{quoted(location.path)}"
        return f"delta {session.sql(f'DESCRIBE HISTORY {name} LIMIT 1').collect()[0]['version']}"
    if provider == "iceberg":
        reader = session.read.options(**location.resolved_options(key))
        is_path = location.table is None
        refs = (
            reader.format("iceberg").load(f"{location.path}#refs")
            if is_path
            else reader.table(f"{location.table}.refs")
        )
        return f"iceberg {refs.where(F.col('name') == 'main').collect()[0]['snapshot_id']}"
    return None


def _provider(session: SparkSession, location: Location) -> str:
    """The format of a table, in lower case; empty if the catalogue does not tell."""
    if location.table is None:
        return (location.reader or "").lower()
    described = session.sql(f"DESCRIBE TABLE EXTENDED {location.table}")
    rows = described.where(F.col("col_name") == "Provider").collect()
    return str(rows[0]["data_type"]).lower() if rows else ""


def _arrow_schema(table: DataFrame) -> pa.Schema:
    return pa.schema([(field.name, _arrow_type(field.dataType)) for field in table.schema])


def _arrow_type(data_type: DataType) -> Any:
    """Arrow's type; of a type that Arrow has not, a struct, which cleaning does not read either."""
    try:
        return to_arrow_type(data_type, timezone="UTC")
    except PySparkException:
        return pa.struct([(data_type.simpleString(), pa.null())])
