"""The user's own tables: read by the rules of the ratings' lines, with a count of every line that is refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType

from kgspark.errors import InputError
from kgspark.spark.cleaning.accounts import format_reasons
from kgspark.spark.cleaning.settings import TableSource
from kgspark.spark.cleaning.source.csv_layouts import shared_header, split_header
from kgspark.spark.cleaning.source.files import SourceFiles, find_files
from kgspark.spark.cleaning.source.kinds import are_parquet, shown
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.cleaning.source.lines import LINE_PROBLEMS, fields, is_header, line_problem, read_lines
from kgspark.spark.cleaning.source.places import local_path
from kgspark.spark.cleaning.source.spark_tables import content_version, open_table, table_version
from kgspark.spark.frames import quoted
from kgspark.spark.own_parquet import read_own_parquet


@dataclass(frozen=True)
class RefusedLines:
    """Lines of a table that were refused.

    lines    number of all lines with data
    refused  number of refused lines by reason
    first    file, relative to the folder of its table, and number of the first refused line
    """

    table: str
    lines: int
    refused: Mapping[str, int]
    first: str

    def __str__(self) -> str:
        count, reasons = sum(self.refused.values()), format_reasons(self.refused)
        return f"{self.table}: {count:,} of {self.lines:,} lines refused ({reasons}; the first is {self.first})"

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    def check(self, limit: float) -> None:
        """InputError if a larger fraction than `limit` is refused."""
        share = sum(self.refused.values()) / self.lines
        if share > limit:
            raise InputError(
                f"source.tables.{self}; that is {share:.2%}, and clean.max_quarantined_share allows {limit:.2%}; "
                f"correct the file, or set the separator or encoding of source.tables.{self.table}"
            )


def read_own_table(session: SparkSession, name: str, source: TableSource, lake: Path | None = None) -> DataFrame:
    """The rows of `source.tables.NAME`. Blanks around texts are removed, and blank texts are null. Lazy.

    Every column of a CSV table is a string. Folders such as `day=1` are a column, too. A table that Spark opens has its
    own types.

    lake  the lake that copies of objects are kept in

    Raises InputError if there is no file, if a file is of another format, or if the header cannot be used.
    """
    if source.by_spark:
        table = open_table(session, source, f"source.tables.{name}")
    elif source.format == "csv":
        layout, lines = _csv_lines(session, name, source, lake)
        values = {column: F.try_element_at("fields", F.lit(i + 1)) for i, column in enumerate(layout.columns)}
        good = lines.where(F.col("is_data") & F.col("reason").isNull())
        return good.select(*[_trimmed(value, StringType()).alias(column) for column, value in values.items()])
    else:
        table = read_own_parquet(session, _checked_files(name, source, lake))
    return table.select(
        *[_trimmed(F.col(quoted(field.name)), field.dataType).alias(field.name) for field in table.schema]
    )


def own_signature(session: Callable[[], SparkSession], name: str, source: TableSource, lake: Path | None = None) -> str:
    """Changes with the rows of `source.tables.NAME`; see `source_signature` and `table_version`.

    session  gives the session, which only a table needs that Spark opens; one without a version is read for its hash
    """
    if not source.by_spark:
        return _own_files(name, source, lake).signature
    key = f"source.tables.{name}"
    return table_version(session(), source, key) or content_version(session(), source, key)


def _own_files(name: str, source: TableSource, lake: Path | None) -> SourceFiles:
    """The files of a table, found as those of the ratings; InputError if there is none."""
    return find_files(source.path, f"source.tables.{name}.path names it", lake)


def _trimmed(value: Column, data_type: DataType) -> Column:
    """Texts, and the texts of an array, without blanks around them; other values as they are."""
    if isinstance(data_type, StringType):
        return F.nullif(F.trim(value), F.lit(""))
    if isinstance(data_type, ArrayType) and isinstance(data_type.elementType, StringType):
        return F.transform(value, lambda text: F.trim(text))
    return value


def count_refused(
    session: SparkSession, sources: Mapping[str, TableSource], lake: Path | None = None
) -> list[RefusedLines]:
    """The refused lines of CSV tables, in one job; tables without a refused line are left out."""
    parts = []
    for name, source in sources.items():
        if source.format == "csv" and not source.by_spark:
            _, lines = _csv_lines(session, name, source, lake)
            parts.append(lines.select(F.lit(name).alias("table"), "file", "block", "row", "is_data", "reason"))
    if not parts:
        return []
    blocks = (
        reduce(DataFrame.unionAll, parts)
        .groupBy("table", "file", "block")
        .agg(
            F.count("*").alias("lines"),
            F.count_if("is_data").alias("data"),
            F.min("row").alias("start"),
            F.min(F.when(F.col("reason").isNotNull(), F.col("row"))).alias("refused"),
            *[F.count_if(F.col("reason") == reason).alias(reason) for reason in LINE_PROBLEMS],
        )
    )
    rows = sorted(blocks.collect(), key=lambda row: (row["file"], row["block"]))
    of_table = {name: [row for row in rows if row["table"] == name] for name in sources}
    return [
        _refused(name, _own_files(name, sources[name], lake), own)
        for name, own in of_table.items()
        if any(row["refused"] is not None for row in own)
    ]


def _refused(name: str, files: SourceFiles, blocks: Sequence[Row]) -> RefusedLines:
    counts = {reason: sum(block[reason] for block in blocks) for reason in LINE_PROBLEMS}
    first = next(block for block in blocks if block["refused"] is not None)
    before = sum(b["lines"] for b in blocks if b["file"] == first["file"] and b["block"] < first["block"])
    file = files.name(local_path(first["file"]))
    return RefusedLines(
        table=name,
        lines=sum(block["data"] for block in blocks),
        refused={reason: count for reason, count in counts.items() if count},
        first=f"{file}:{before + first['refused'] - first['start'] + 1}",
    )


def _csv_lines(
    session: SparkSession, name: str, source: TableSource, lake: Path | None
) -> tuple[TextLayout, DataFrame]:
    """The layout, and every line with `fields`, position, `is_data`, and the `reason` to refuse it (or null).

    Headers and blank lines hold no data.
    """
    files = _checked_files(name, source, lake)
    layout = _csv_layout(name, source, files)
    lines = read_lines(session, files, layout).withColumn("fields", fields(layout))
    is_data = ~is_header(layout) & (F.length(F.trim("raw")) > 0)
    reason = F.when(is_data, line_problem(layout))
    return layout, lines.withColumn("is_data", is_data).withColumn("reason", reason)


def _csv_layout(name: str, source: TableSource, files: SourceFiles) -> TextLayout:
    """The layout of a CSV table, from the header that all its files share."""
    file, header = shared_header(files, source.encoding)
    if "\ufffd" in header:
        raise InputError(f"{file}:1: the header is no text in {source.encoding}; set source.tables.{name}.encoding")
    columns = tuple(split_header(header, source.separator))
    for column in columns:
        if not column:
            raise InputError(f"{file}:1: the header has a column without a name: {shown(header)}")
        if [other.casefold() for other in columns].count(column.casefold()) > 1:
            raise InputError(f"{file}:1: the header names the column {column!r} more than once")
    layout = TextLayout(source.separator, columns, source.encoding, header, quoted=True)
    folders = sorted(files.folders)
    return layout.with_folders({name: name for name in folders}, folders)


def _checked_files(name: str, source: TableSource, lake: Path | None) -> SourceFiles:
    """The files of a table, which are fetched if they are in a store; InputError if they are not of its format."""
    files = _own_files(name, source, lake).fetch()
    found = "parquet" if are_parquet(files) else "csv"
    if found != source.format:
        is_so = "are" if found == "parquet" else "are not"
        raise InputError(
            f"{files.path}: the files {is_so} Parquet by their first bytes; set source.tables.{name}.format={found}"
        )
    return files
