"""Text tables as lines with a position, taken apart by column expressions so that no bad line can stop a job."""

import re
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.spark.cleaning.dialects import TextLayout

# What windows-1252 prints where iso-8859-1 has control characters; it leaves the other five undefined.
_CONTROLS = "".join(chr(code) for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D))

# Marks where a line is cut; a line that has this character itself is unreadable.
_CUT = "\x00"

UNREADABLE, UNPARSABLE, FIELD_COUNT = "unreadable_encoding", "unparsable_line", "wrong_field_count"


def read_lines(session: SparkSession, path: Path, layout: TextLayout) -> DataFrame:
    """Lines of a text file or folder, with where they stand.

    Columns: `raw` (string; bytes that are not valid in the encoding are replaced), `readable` (boolean), and the
    position: `file` (URI), `block` (byte offset of the input split), `row` (ascending inside a block).
    """
    lines = session.read.text(str(path)).select(
        "value",
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("row"),
    )
    if layout.encoding == "utf-8":
        readable, raw = F.is_valid_utf8("value"), F.make_valid_utf8("value")
    else:
        # Every byte is a character there; U+0000 alone betrays another encoding (UTF-16, say).
        readable, raw = F.lit(True), F.decode(F.col("value").cast("binary"), "iso-8859-1")
    if layout.encoding == "windows-1252":  # which Spark does not decode
        raw = F.translate(raw, _CONTROLS, _CONTROLS.encode("iso-8859-1").decode("windows-1252"))
        readable = ~raw.rlike("[\x81\x8d\x8f\x90\x9d]")
    return lines.select(raw.alias("raw"), readable.alias("readable"), "file", "block", "row").withColumn(
        "readable", F.col("readable") & ~F.contains("raw", F.lit(_CUT))
    )


def parquet_positions(table: DataFrame) -> list[Column]:
    """For a Parquet table, the columns that `read_lines` gives lines: header, raw (as JSON), file, block and row."""
    return [
        F.lit(False).alias("header"),
        F.to_json(F.struct(*table.columns)).alias("raw"),
        F.col("_metadata.file_path").alias("file"),
        F.lit(0).cast("bigint").alias("block"),
        F.col("_metadata.row_index").alias("row"),
    ]


def is_header(layout: TextLayout) -> Column:
    """Whether a line is the file's header, with or without a byte order mark."""
    if layout.header is None:
        return F.lit(False)
    return F.col("raw").isin(layout.header, "\ufeff" + layout.header)


def fields(layout: TextLayout) -> Column:
    """The fields of `raw` as array<string>, quotes taken off."""
    plain = _split(F.col("raw"), layout.separator)
    if not layout.quoted:
        return plain
    # Between the quotes, every other piece is outside of them; only there a separator counts. A pattern that looks
    # ahead over the quotes would take quadratic time, and the JVM's stack, on a line full of them.
    pieces = F.transform(
        F.split("raw", '"', -1),
        lambda piece, i: F.when(i % 2 == 0, F.replace(piece, F.lit(layout.separator), F.lit(_CUT))).otherwise(piece),
    )
    outside = F.split(F.array_join(pieces, '"'), _CUT, -1)
    unquoted = F.transform(
        outside,
        lambda field: F.when(
            field.startswith('"') & field.endswith('"') & (F.length(field) >= 2),
            F.replace(field.substr(F.lit(2), F.length(field) - 2), F.lit('""'), F.lit('"')),
        ).otherwise(field),
    )
    return F.when(F.contains("raw", F.lit('"')), unquoted).otherwise(plain)


def _split(text: Column, separator: str) -> Column:
    """Java splits at one character without a regular expression, which it would compile anew for every line."""
    if len(separator) == 1:
        return F.split(text, re.escape(separator), -1)
    return F.split(F.replace(text, F.lit(separator), F.lit(_CUT)), _CUT, -1)


def line_problem(layout: TextLayout) -> Column:
    """The reason why a line cannot be taken apart, or null. Reads `raw`, `readable` and `fields`."""
    unparsable = F.length(F.trim("raw")) == 0
    plain = F.col("readable") & (F.size("fields") == len(layout.columns))
    if layout.quoted:
        plain = plain & ~F.contains("raw", F.lit('"'))
        quotes = F.length("raw") - F.length(F.replace("raw", F.lit('"'), F.lit("")))
        unparsable = unparsable | (F.contains("raw", F.lit('"')) & (quotes % 2 == 1))
    problem = (
        F.when(~F.col("readable"), UNREADABLE)
        .when(unparsable, UNPARSABLE)
        .when(F.size("fields") != len(layout.columns), FIELD_COUNT)
    )
    # Nearly every line is plain, and a blank one never is where a line has two fields or more.
    return F.when(~plain, problem) if len(layout.columns) > 1 else problem


def with_line_numbers(bad: DataFrame, blocks: DataFrame) -> DataFrame:
    """Adds `line`, counted from 1 in the file, to rows that carry `file`, `block` and `row`.

    blocks  one row an input split: `file`, `block`, `lines` and `first_row`; as many rows as the input has splits
    """
    starts = blocks.alias("this").join(
        blocks.select("file", F.col("block").alias("earlier"), F.col("lines").alias("earlier_lines")).alias("other"),
        how="left",
        on=(F.col("this.file") == F.col("other.file")) & (F.col("earlier") < F.col("this.block")),
    )
    starts = starts.groupBy("this.file", "this.block", "this.first_row").agg(
        F.coalesce(F.sum("earlier_lines"), F.lit(0)).alias("lines_before")
    )
    numbered = bad.join(F.broadcast(starts), on=["file", "block"], how="left")
    return numbered.withColumn("line", F.col("lines_before") + F.col("row") - F.col("first_row") + 1)
