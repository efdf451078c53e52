"""The user's own tables: read by the rules of the ratings' lines, with a count of every line that is refused."""

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType

from kgspark.errors import InputError
from kgspark.spark.cleaning.accounts import format_reasons
from kgspark.spark.cleaning.layouts import TextLayout
from kgspark.spark.cleaning.lines import LINE_PROBLEMS, fields, is_header, line_problem, read_lines
from kgspark.spark.cleaning.settings import TableSource
from kgspark.spark.cleaning.source_files import SourceFiles, find_files
from kgspark.spark.own_parquet import read_own_parquet

_PARQUET = b"PAR1"
# A header line is not longer; a file without a line end is not read as a whole.
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class RefusedLines:
    """Lines of a table that were refused.

    lines    number of all lines with data
    refused  number of refused lines by reason
    first    file and number of the first refused line
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


def read_own_table(session: SparkSession, name: str, source: TableSource) -> DataFrame:
    """The rows of `source.tables.NAME`. Blanks around texts are removed, and blank texts are null. Lazy.

    Every column of a CSV table is a string. Raises InputError if the file is missing, or its header cannot be used.
    """
    if source.format == "csv":
        layout, lines = _csv_lines(session, name, source)
        values = {column: F.try_element_at("fields", F.lit(i + 1)) for i, column in enumerate(layout.columns)}
        good = lines.where(F.col("is_data") & F.col("reason").isNull())
        return good.select(*[_trimmed(value, StringType()).alias(column) for column, value in values.items()])
    table = read_own_parquet(session, _parquet_files(name, source))
    typed = [(field.name, field.dataType, "`" + field.name.replace("`", "``") + "`") for field in table.schema]
    return table.select(*[_trimmed(F.col(quoted), data_type).alias(name) for name, data_type, quoted in typed])


def _trimmed(value: Column, data_type: DataType) -> Column:
    """Texts, and the texts of an array, without blanks around them; other values as they are."""
    if isinstance(data_type, StringType):
        return F.nullif(F.trim(value), F.lit(""))
    if isinstance(data_type, ArrayType) and isinstance(data_type.elementType, StringType):
        return F.transform(value, lambda text: F.trim(text))
    return value


def count_refused(session: SparkSession, sources: Mapping[str, TableSource]) -> list[RefusedLines]:
    """The refused lines of CSV tables, in one job; tables without a refused line are left out."""
    parts = []
    for name, source in sources.items():
        if source.format == "csv":
            _, lines = _csv_lines(session, name, source)
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
    return [_refused(name, own) for name, own in of_table.items() if any(row["refused"] is not None for row in own)]


def _refused(name: str, blocks: Sequence[Row]) -> RefusedLines:
    counts = {reason: sum(block[reason] for block in blocks) for reason in LINE_PROBLEMS}
    first = next(block for block in blocks if block["refused"] is not None)
    before = sum(b["lines"] for b in blocks if b["file"] == first["file"] and b["block"] < first["block"])
    file = unquote(first["file"].rsplit("/", 1)[-1])
    return RefusedLines(
        table=name,
        lines=sum(block["data"] for block in blocks),
        refused={reason: count for reason, count in counts.items() if count},
        first=f"{file}:{before + first['refused'] - first['start'] + 1}",
    )


def _csv_lines(session: SparkSession, name: str, source: TableSource) -> tuple[TextLayout, DataFrame]:
    """The layout, and every line with `fields`, position, `is_data`, and the `reason` to refuse it (or null).

    Headers and blank lines hold no data.
    """
    layout = _csv_layout(name, source)
    lines = read_lines(session, _files(name, source), layout).withColumn("fields", fields(layout))
    is_data = ~is_header(layout) & (F.length(F.trim("raw")) > 0)
    reason = F.when(is_data, line_problem(layout))
    return layout, lines.withColumn("is_data", is_data).withColumn("reason", reason)


def _csv_layout(name: str, source: TableSource) -> TextLayout:
    """The layout of a CSV table, from the header that all its files share."""
    headers = {file: _header(name, file, source) for file in _files(name, source).files}
    file, header = next(iter(headers.items()))
    for other, text in headers.items():
        if text != header:
            raise InputError(f"{other}:1: the header differs from that of {file}; the files of a table share one")
    columns = tuple(_column_names(header, source.separator))
    for column in columns:
        if not column:
            raise InputError(f"{file}:1: the header has a column without a name: {header[:80]!r}")
        if [other.casefold() for other in columns].count(column.casefold()) > 1:
            raise InputError(f"{file}:1: the header names the column {column!r} more than once")
    return TextLayout(source.separator, columns, source.encoding, header, quoted=True)


def _column_names(header: str, separator: str) -> Iterator[str]:
    if len(separator) == 1:
        return (name.strip() for name in next(csv.reader([header], delimiter=separator)))
    return (name.strip().strip('"') for name in header.split(separator))


def _header(name: str, file: Path, source: TableSource) -> str:
    """The first line, without a byte order mark."""
    with open(file, "rb") as stream:
        start = stream.readline(_LONGEST_HEADER)
    key = f"source.tables.{name}"
    if start.startswith(_PARQUET):
        raise InputError(f"{file}: is Parquet by its first bytes; set {key}.format=parquet")
    try:
        text = start.removeprefix(codecs.BOM_UTF8).decode(source.encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(
            f"{file}:1: the header is no text in {source.encoding}; set {key}.encoding, or unpack the file if it is "
            "compressed"
        )
    return re.split("[\r\n]", text, maxsplit=1)[0]


def _parquet_files(name: str, source: TableSource) -> tuple[Path, ...]:
    """The files of a table, if each of them is Parquet."""
    files = _files(name, source).files
    for file in files:
        with open(file, "rb") as stream:
            if stream.read(len(_PARQUET)) != _PARQUET:
                raise InputError(f"{file}: is not Parquet by its first bytes; set source.tables.{name}.format=csv")
    return files


def _files(name: str, source: TableSource) -> SourceFiles:
    """The data files of a table, found as those of the ratings; InputError if there is none."""
    return find_files(source.path, f"source.tables.{name}.path names it")
