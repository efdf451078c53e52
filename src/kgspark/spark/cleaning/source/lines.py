"""Text tables as lines with positions. Column expressions split the lines, so no bad line can stop a job."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.frames import quoted
from kgspark.spark.stored import object_root, spark_path

# The control characters of iso-8859-1 that are printable in windows-1252; five others are undefined there.
_CONTROLS = "".join(chr(code) for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D))

# Marks the positions where a line is split; a line that contains this character itself counts as unreadable.
_CUT = "\x00"

# The reasons why a line cannot be split into fields, in the order in which they are tried.
LINE_PROBLEMS = (_UNREADABLE, _UNPARSABLE, _FIELD_COUNT, UNFINISHED) = (
    "unreadable_encoding",
    "unparsable_line",
    "wrong_field_count",
    "unfinished_line",
)
# The columns that carry a line through cleaning: its text, and its position in the input.
LINE_COLUMNS = ("raw", "file", "block", "row")


def read_lines(session: SparkSession, files: SourceFiles, layout: TextLayout) -> DataFrame:
    """Lines of text files, with their positions. Lazy.

    Columns: `raw` (string; bytes that are not valid in the encoding are replaced), `readable` (boolean), and the
    position: `file` (URI), `block` (byte offset of the input split), `row` (ascending inside a block).
    """
    lines = session.read.text([spark_path(session, file) for file in files.files]).select(
        "value",
        _file(session, files.files[0]).alias("file"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("row"),
    )
    if layout.encoding == "utf-8":
        readable, raw = F.is_valid_utf8("value"), F.make_valid_utf8("value")
    else:
        # Every byte is a character in it; only U+0000 shows that the encoding is another one, such as UTF-16.
        readable, raw = F.lit(True), F.decode(F.col("value").cast("binary"), "iso-8859-1")
        raw = F.when(F.is_valid_utf8("value"), F.col("value")).otherwise(raw) if layout.or_utf8 else raw
    if layout.encoding == "windows-1252":  # Spark cannot decode it
        raw = F.translate(raw, _CONTROLS, _CONTROLS.encode("iso-8859-1").decode("windows-1252"))
        readable = ~raw.rlike("[\x81\x8d\x8f\x90\x9d]")
    return lines.select(raw.alias("raw"), readable.alias("readable"), "file", "block", "row").withColumn(
        "readable", F.col("readable") & ~F.contains("raw", F.lit(_CUT))
    )


def _file(session: SparkSession, file: Path) -> Column:
    """The URI of a row's file; of the copy, if Spark reads the objects. `file` is any of the files."""
    found, place = object_root(session, file), F.col("_metadata.file_path")
    if found is None:
        return place
    root, uri = found
    # By the number of folders, because Spark writes some characters of a URI in another way than we do.
    return F.regexp_replace(place, f"^[a-z0-9]+://([^/]+/){{{uri.count('/') - 1}}}", f"{root.as_uri()}/")


def parquet_positions(table: DataFrame, file: Path) -> list[Column]:
    """`header` and `LINE_COLUMNS` for a Parquet table, as lines have them; `raw` is the row's columns as JSON."""
    return [
        F.lit(False).alias("header"),
        F.to_json(F.struct(*map(quoted, table.columns))).alias("raw"),
        _file(table.sparkSession, file).alias("file"),
        F.lit(0).cast("bigint").alias("block"),
        F.col("_metadata.row_index").alias("row"),
    ]


def is_header(layout: TextLayout) -> Column:
    """True for the file's header, with or without a byte order mark."""
    if layout.header is None:
        return F.lit(False)
    return F.col("raw").isin(layout.header, "\ufeff" + layout.header)


def fields(layout: TextLayout) -> Column:
    """The fields of `raw` and of the folders of `file`, as array<string>; null for a line that is no JSON object."""
    folders = [of_folder(name) for name in layout.folders]
    of_line = _json_values(layout.keys) if layout.keys else _separated(layout)
    return F.concat(of_line, F.array(*folders)) if folders else of_line


def of_folder(name: str) -> Column:
    """The value of the folder `name=value` in the path of `file`, or null, by Hive's rules."""
    value = F.substring_index(F.substring_index(file_path(), f"/{name}=", -1), "/", 1)
    return F.nullif(F.url_decode(F.replace(value, F.lit("+"), F.lit("%2B"))), F.lit("__HIVE_DEFAULT_PARTITION__"))


def _json_values(keys: Sequence[str]) -> Column:
    """The values of an object's keys as texts: those of a string, or the JSON of any other value."""
    # Spark's parser ends with the first value of a line, whatever follows it.
    whole = F.ltrim("raw").startswith("{") & F.rtrim("raw").endswith("}")
    several = F.contains("raw", F.lit("}{")) | F.contains("raw", F.lit("} {"))
    # As a variant, a number keeps its digits: as text alone, 1600001020.5 would become 1.6000010205E9.
    found = F.when(whole & ~several, F.try_parse_json("raw"))
    return F.when(found.isNotNull(), F.array(*[F.try_variant_get(found, _json_path(key), "string") for key in keys]))


def _json_path(key: str) -> str:
    quote = '"' if "'" in key else "'"
    return f"$[{quote}{key}{quote}]"


def _separated(layout: TextLayout) -> Column:
    """The fields between separators, without their quotes."""
    plain = _split(F.col("raw"), layout.separator)
    if not layout.quoted:
        return plain
    # The text is split at the quotes. Every second piece is outside of quotes, and only there a separator counts. A
    # regular expression with a lookahead over the quotes would need quadratic time, and much of the JVM's stack, for a
    # line with many quotes.
    pieces = F.transform(
        F.split(_with_doubled_quotes(), '"', -1),
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


def _with_doubled_quotes() -> Column:
    r"""`raw` with "" for \", as Spark writes a quote inside a field, if this leaves the quotes in pairs.

    Otherwise the backslash is the last character of its field, as in "C:\", and the quote closes the field.
    """
    doubled = F.replace("raw", F.lit('\\"'), F.lit('""'))
    return F.when(F.contains("raw", F.lit('\\"')) & (_quotes(doubled) % 2 == 0), doubled).otherwise(F.col("raw"))


def _quotes(text: Column) -> Column:
    return F.length(text) - F.length(F.replace(text, F.lit('"'), F.lit("")))


def _split(text: Column, separator: str) -> Column:
    """Splits at one character, for which Java needs no regular expression: it would compile one for every line."""
    if len(separator) == 1:
        return F.split(text, re.escape(separator), -1)
    return F.split(F.replace(text, F.lit(separator), F.lit(_CUT)), _CUT, -1)


def file_path() -> Column:
    """The path in the column `file`, which is a URI: it writes a blank as %20, but a plus as a plus."""
    return F.regexp_replace(F.url_decode(F.replace("file", F.lit("+"), F.lit("%2B"))), "^[a-z]+:(//)?", "")


def of_file(lines: DataFrame, file: Path) -> DataFrame:
    """Those of the `lines`, which have their positions, that are in the file. Lazy."""
    return lines.where(file_path() == str(file))


def line_problem(layout: TextLayout, unfinished: Collection[tuple[Path, str]] = ()) -> Column:
    """The reason why a line cannot be split into fields, or null. Reads `raw`, `readable`, `fields` and `file`.

    unfinished  file and text of the last lines that count as cut off, see `unfinished_lines`
    """
    unparsable = (F.length(F.trim("raw")) == 0) | F.col("fields").isNull()
    plain = F.col("readable") & F.col("fields").isNotNull() & (F.size("fields") == len(layout.columns))
    if layout.quoted:
        plain = plain & ~F.contains("raw", F.lit('"'))
        unparsable = unparsable | (F.contains("raw", F.lit('"')) & (_quotes(_with_doubled_quotes()) % 2 == 1))
    problem = (
        F.when(~F.col("readable"), _UNREADABLE)
        .when(unparsable, _UNPARSABLE)
        .when(F.size("fields") != len(layout.columns), _FIELD_COUNT)
    )
    if unfinished:
        # Sets of texts, so that the time per line does not grow with the number of files.
        cut = F.col("raw").isin([text for _, text in unfinished])
        place = F.concat(file_path(), F.lit("\n"), "raw")
        cut = cut & place.isin([f"{file}\n{text}" for file, text in unfinished])
        plain, problem = plain & ~cut, problem.when(cut, UNFINISHED)
    # The fast path: nearly every line is plain. If a line has two fields or more, a blank line is never plain.
    return F.when(~plain, problem) if len(layout.columns) - len(layout.folders) > 1 else problem


def with_line_numbers(bad: DataFrame, blocks: DataFrame) -> DataFrame:
    """Adds `line`, counted from 1 in the file, to rows that have `file`, `block` and `row`. Lazy.

    blocks  one row per input split: `file`, `block`, `lines` and `first_row`
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
