"""Parquet tables of the source: the types of their columns, compared over all files before Spark reads one."""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from kgspark.errors import InputError
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.lines import of_folder, parquet_positions
from kgspark.spark.frames import quoted
from kgspark.spark.stored import spark_path
from kgspark.tables import Columns

_NANOSECONDS, _LOCAL_NANOSECONDS = "nanoseconds", "nanoseconds without zone"
_NAMES = "array<struct<name:string>>"  # as in exports of catalogues: genres with an id and a name
_UUID = "uuid"  # 16 bytes; Spark reads them only if it is told that they are bytes
_FOLDER = "the name of a folder"  # a column such as day of the folder day=1, which is not in the file
_NO_VALUES = "void"  # a column without a single value, whose type pandas does not know
# The Spark types by which such columns are read from the file, and those that they get. Others are Spark types.
_STORED = {**dict.fromkeys((_NANOSECONDS, _LOCAL_NANOSECONDS), "bigint"), _UUID: "binary"}
_READ = {
    _NANOSECONDS: "timestamp",
    _LOCAL_NANOSECONDS: "timestamp_ntz",
    _NAMES: "array<string>",
    _UUID: "string",
    _FOLDER: "string",
}
# What a Spark type holds. Files may have different types of one group: each file is read with its own.
_GROUPS = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint", "float", "double", "decimal"), "number"),
    **dict.fromkeys(("string", "binary", _UUID), "text"),
    **dict.fromkeys(("timestamp", "timestamp_ntz", "date", _NANOSECONDS, _LOCAL_NANOSECONDS), "time"),
    **dict.fromkeys(("array<string>", _NAMES), "list of texts"),
    _FOLDER: _FOLDER,
}
_EXPECTED = {
    Columns.USER_ID: ("number", "text"),
    Columns.MOVIE_ID: ("number", "text"),
    Columns.RATING: ("number", "text"),
    Columns.TIMESTAMP: ("number", "text", "time"),
    Columns.EVENT: ("text", "number"),
    Columns.TITLE: ("text", "number"),
    Columns.GENRES: ("text", "list of texts"),
}


@dataclass(frozen=True)
class ParquetFiles:
    """A Parquet table, as its footers describe it.

    names  the source's name of each column that is read, by ours
    parts  the files that share their columns' types, by these types: (our name, Spark type) each
    rows   number of rows of each file
    """

    names: Mapping[str, str]
    parts: Mapping[tuple[tuple[str, str], ...], tuple[Path, ...]]
    rows: Mapping[Path, int]

    def holds_numbers(self, column: str) -> bool:
        """True if one of our columns has no text in any file."""
        return "text" not in self._groups(column)

    def holds_times(self, column: str) -> bool:
        """True if one of our columns has timestamps or dates."""
        return "time" in self._groups(column)

    @property
    def groups(self) -> dict[str, list[str]]:
        """What each of our columns that has values holds: one group of types."""
        found = {ours: self._groups(ours) - {""} for types in self.parts for ours, _ in types}
        return {ours: sorted(groups) for ours, groups in sorted(found.items()) if groups}

    def _groups(self, column: str) -> set[str]:
        return {_group(dict(types)[column]) for types in self.parts}

    def only(self, files: Collection[Path]) -> "ParquetFiles":
        """The table of some of the files."""
        chosen = {types: tuple(file for file in part if file in files) for types, part in self.parts.items()}
        return replace(self, parts={types: part for types, part in chosen.items() if part})

    def read(self, session: SparkSession) -> list[DataFrame]:
        """The rows of each part: our columns with their types, `header`, and `LINE_COLUMNS`. Lazy.

        All parts have the columns that any of them has, with nulls where a part has no values.
        """
        found = {ours: spark_type for types in self.parts for ours, spark_type in types if spark_type != _NO_VALUES}
        types_read = {ours: found.get(ours, "string") for types in self.parts for ours, _ in types}
        nulls = {ours: F.lit(None).cast(_READ.get(spark_type, spark_type)) for ours, spark_type in types_read.items()}
        return [self._read_part(session, dict(types), nulls, files) for types, files in self.parts.items()]

    def _read_part(
        self, session: SparkSession, types: Mapping[str, str], nulls: Mapping[str, Column], files: tuple[Path, ...]
    ) -> DataFrame:
        """`nulls` has every column of the table without its values."""
        stored = {ours: spark_type for ours, spark_type in types.items() if spark_type not in (_NO_VALUES, _FOLDER)}
        folders = [ours for ours, spark_type in types.items() if spark_type == _FOLDER]
        schema = ", ".join(f"{quoted(self.names[ours])} {_STORED.get(t, t)}" for ours, t in stored.items())
        table = session.read.schema(schema or StructType()).parquet(*[spark_path(session, file) for file in files])
        columns = {**nulls, **{ours: self._typed(ours, spark_type) for ours, spark_type in stored.items()}}
        rows = table.select(
            *[column.alias(ours) for ours, column in columns.items()], *parquet_positions(table, files[0])
        )
        for ours in folders:  # one by one: Spark Connect takes no empty set of columns
            rows = rows.withColumn(ours, of_folder(self.names[ours]))
        return rows

    def _typed(self, ours: str, spark_type: str) -> Column:
        column = quoted(self.names[ours])
        if spark_type == _UUID:
            return F.regexp_replace(F.lower(F.hex(F.col(column))), "(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5")
        if spark_type in _STORED:
            return F.expr(f"timestamp_micros({column} div 1000)").cast(_READ[spark_type])
        return F.col(column)["name"] if spark_type == _NAMES else F.col(column)


def read_footers(files: SourceFiles, columns: Mapping[str, str], required: Collection[str]) -> ParquetFiles:
    """Reads the footer of every file, in threads: some 2 s for 2,000 files.

    columns   our names of the columns, by the source's names; other columns are not read
    required  the source's names that must be in every file, or be the name of a folder
    Raises InputError, with file and column, for a file that was cut off, for a column that is missing or of a type that
    cannot be read, and for files whose types do not belong together.
    """
    with ThreadPoolExecutor(8) as pool:
        read = partial(_read_footer, columns=columns, required=required, folders=files.folders)
        footers = list(pool.map(read, files.files))
    parts: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for file, (types, _) in zip(files.files, footers, strict=True):
        parts.setdefault(tuple(types.items()), []).append(file)
    names = {ours: theirs for theirs, ours in columns.items()}
    _check_together(names, {types: paths[0] for types, paths in parts.items()})
    rows = {file: count for file, (_, count) in zip(files.files, footers, strict=True)}
    return ParquetFiles(names, {types: tuple(paths) for types, paths in parts.items()}, rows)


def open_footer(file: Path) -> tuple[pa.Schema, pq.FileMetaData]:
    """Columns and metadata of a Parquet file; InputError if it was cut off."""
    try:
        with pq.ParquetFile(file) as opened:
            return opened.schema_arrow, opened.metadata
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{file}: the Parquet file cannot be read; it was cut off, or is still being written "
            f"({str(error).splitlines()[0][:120]})"
        ) from None


def union(frames: list[DataFrame]) -> DataFrame:
    """The rows of all frames, which have the same columns. Lazy."""
    return reduce(DataFrame.unionByName, frames)


def _read_footer(
    file: Path, columns: Mapping[str, str], required: Collection[str], folders: Collection[str]
) -> tuple[dict[str, str], int]:
    """The Spark types of our columns, and the number of rows."""
    schema, metadata = open_footer(file)
    of_folders = [theirs for theirs in columns if theirs in folders and theirs not in schema.names]
    stored = column_types(file, schema, columns, [name for name in required if name not in of_folders], metadata)
    return stored | {columns[theirs]: _FOLDER for theirs in of_folders}, metadata.num_rows


def column_types(
    place: object,
    schema: pa.Schema,
    columns: Mapping[str, str],
    required: Collection[str],
    metadata: pq.FileMetaData | None = None,
) -> dict[str, str]:
    """The Spark types of our columns in a table.

    place     the table, for messages
    metadata  of a Parquet file

    Raises InputError for a column that is missing, or of a type that cleaning does not read.
    """
    missing = [name for name in required if name not in schema.names]
    if missing:
        raise InputError(
            f"{place}: the table lacks the column {', '.join(missing)}; found {', '.join(schema.names)[:300]}; "
            "name the columns in source.columns"
        )
    types = {}
    for theirs, ours in columns.items():
        found = schema.get_all_field_indices(theirs)
        if len(found) > 1 or sum(name.lower() == theirs.lower() for name in schema.names) > 1:
            raise InputError(f"{place}: the table has {theirs} twice, so its values are uncertain; rename one")
        if found:
            field = schema.field(found[0])
            types[ours] = _spark_type(field.type, theirs, metadata)
            if types[ours] != _NO_VALUES and _group(types[ours]) not in _EXPECTED[ours]:
                raise InputError(f"{place}: {theirs} is {field.type}; expected a {' or a '.join(_EXPECTED[ours])}")
    return types


def _check_together(names: Mapping[str, str], examples: Mapping[tuple[tuple[str, str], ...], Path]) -> None:
    """InputError if a column has types of two groups; `examples` has one file for each combination of types."""
    refuse_two_types(
        (
            (file, names[ours], spark_type)
            for types, file in examples.items()
            for ours, spark_type in types
            if spark_type != _NO_VALUES
        ),
        _group,
    )


def refuse_two_types(columns: Iterable[tuple[Path, str, str]], group: Callable[[str], str]) -> None:
    """InputError if a column has types of two groups in two files.

    columns  the file, name and type of each column of each file
    group    of a type; the types of one group can be read together
    """
    seen: dict[str, tuple[str, Path]] = {}
    for file, name, found in columns:
        first, where = seen.setdefault(name, (found, file))
        if group(first) != group(found):
            raise InputError(
                f"{file}: {name} is {found} here and {first} in {where}; write all files of a table with one type"
            )


def _group(spark_type: str) -> str:
    return _GROUPS.get(spark_type.split("(")[0], "")


def _spark_type(found: pa.DataType, name: str, metadata: pq.FileMetaData | None) -> str:
    """The Spark type that reads a column of this type, or an empty text if cleaning reads none such."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return _NO_VALUES
    if pa.types.is_integer(found):
        wider = {"uint8": "smallint", "uint16": "int", "uint32": "bigint", "uint64": "decimal(20,0)"}
        signed = {"int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint"}
        return (wider | signed)[str(found)]
    if pa.types.is_timestamp(found):
        if found.unit == "ns" and not _is_int96(name, metadata):
            return _NANOSECONDS if found.tz else _LOCAL_NANOSECONDS
        return "timestamp" if found.tz or found.unit == "ns" else "timestamp_ntz"
    if pa.types.is_decimal(found):
        return f"decimal({found.precision},{found.scale})" if found.precision <= 38 else ""
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        if pa.types.is_struct(found.value_type) and found.value_type.get_field_index("name") >= 0:
            return _NAMES if _is_text(found.value_type.field("name").type) else ""
        return "array<string>" if _is_text(found.value_type) else ""
    if _is_text(found):
        return "string"
    if found == pa.uuid():
        return _UUID
    exact = {pa.float32(): "float", pa.float64(): "double", pa.date32(): "date", pa.binary(): "binary"}
    return exact.get(found, "")


def _is_text(found: pa.DataType) -> bool:
    return pa.types.is_string(found) or pa.types.is_large_string(found)


def _is_int96(name: str, metadata: pq.FileMetaData | None) -> bool:
    """True if a time is stored as INT96, as older versions of Spark and Impala do; Arrow shows it as nanoseconds."""
    if metadata is None:
        return False
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    return any(column.path == name and column.physical_type == "INT96" for column in columns)
