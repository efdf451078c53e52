"""From lines to clean ratings: every line is kept, superseded by a later rating, or in quarantine with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.dialects import Scale, Source, TextLayout
from kgspark.spark.cleaning.lines import (
    fields,
    is_header,
    line_problem,
    parquet_positions,
    read_lines,
    with_line_numbers,
)
from kgspark.spark.cleaning.rating_rules import CODES, nearest, steps_above
from kgspark.spark.settings import Columns
from kgspark.tables import RATINGS

QUARANTINE_SCHEMA = pa.schema(
    [("table", pa.string()), ("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)
BLOCK_SCHEMA = "file string, block bigint, lines bigint, first_row bigint"

# Input for each task of de-duplication: at 25 bytes a line, a hash table of some 60 MB.
_BYTES_A_TASK = 16 << 20


def read_raw(session: SparkSession, path: Path, layout: TextLayout | None, columns: Columns) -> DataFrame:
    """The ratings as text: user_id, movie_id, rating, timestamp strings, `problem`, `header` and the position."""
    if layout is None:
        return _read_parquet(session, path, columns)
    lines = read_lines(session, path, layout).withColumn("fields", fields(layout))
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    return lines.select(
        *[at[name].alias(name) for name in ("user_id", "movie_id", "rating", "timestamp")],
        line_problem(layout).alias("problem"),
        is_header(layout).alias("header"),
        "raw", "file", "block", "row",
    )  # fmt: skip


def _read_parquet(session: SparkSession, path: Path, columns: Columns) -> DataFrame:
    table = session.read.parquet(str(path))
    wanted = {
        columns.user: "user_id",
        columns.movie: "movie_id",
        columns.rating: "rating",
        columns.timestamp: "timestamp",
    }
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise InputError(
            f"{path}: the table lacks the column {missing[0]}; found {', '.join(table.columns)}; "
            "name the columns in source.columns"
        )
    kinds = dict(table.dtypes)
    as_text = {
        ours: F.unix_timestamp(theirs) if kinds[theirs].startswith(("timestamp", "date")) else F.col(theirs)
        for theirs, ours in wanted.items()
    }
    return table.select(
        *[value.cast("string").alias(ours) for ours, value in as_text.items()],
        F.lit(None).cast("string").alias("problem"),
        *parquet_positions(table),
    )


def has_integer_ids(session: SparkSession, source: Source, columns: Columns) -> bool:
    """Whether the ids are integers: by declaration for text, by the column's type for Parquet."""
    if source.layouts[RATINGS] is not None:
        return source.integer_ids
    kinds = dict(session.read.parquet(str(source.paths[RATINGS])).dtypes)
    return {kinds.get(columns.user), kinds.get(columns.movie)} <= {"tinyint", "smallint", "int", "bigint"}


def superseded_count(lines: DataFrame, key: Sequence[str]) -> int:
    """Good lines that another one of the same key takes the place of."""
    good = lines.where(~F.col("header") & F.col("reason").isNull())
    repeated = good.groupBy(*key).count().agg(F.sum(F.col("count") - 1))
    return repeated.collect()[0][0] or 0


def line_counts(inputs: Mapping[str, DataFrame]) -> dict[str, int]:
    """Lines or rows that came in, by table, headers among them; nothing is taken apart for it."""
    named = [raw.select(F.lit(name).alias("table")) for name, raw in inputs.items()]
    counts = reduce(DataFrame.unionAll, named).groupBy("table").count().collect()
    return dict.fromkeys(inputs, 0) | {row["table"]: row["count"] for row in counts}


def header_count(path: Path, layout: TextLayout | None) -> int:
    """Headers that there must be: one a file, where the layout has one (`find_source` has looked at them)."""
    if layout is None or layout.header is None:
        return 0
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.is_file() and not file.name.startswith(("_", ".")) for file in files)


def count_blocks(lines: DataFrame) -> DataFrame:
    """One row an input split: file, block, lines, first_row, headers, and bad lines."""
    return lines.groupBy("file", "block").agg(
        F.count(F.lit(1)).alias("lines"),
        F.min("row").alias("first_row"),
        F.count_if("header").alias("headers"),
        F.count_if(~F.col("header") & F.col("reason").isNotNull()).alias("bad"),
    )


def latest(good: DataFrame, scale: Scale, tasks: int) -> DataFrame:
    """One row a (user, movie): the latest of `good_ratings`, the higher one of equal times.

    Timestamp and the rating's number on its scale are packed into one long, because an aggregate over a long hashes
    where one over a struct sorts; and the order of input rows cannot matter. Hardly any pair stands twice, so rows go
    to their task as they are: an aggregate before the shuffle would hash them all and leave none out.

    tasks  so many that the hash table of each fits its memory: one that does not is sorted and spilled
    """
    code = nearest(steps_above(scale))
    packed = good.select("user_id", "movie_id", (F.col("timestamp") * CODES + code).alias("packed"))
    # By user alone: a log that is sorted by user stays in runs, which compress well here and in every later table.
    placed = packed.repartition(tasks, "user_id")
    winners = placed.groupBy("user_id", "movie_id").agg(F.max("packed").alias("packed"))
    rating = _rating(F.col("packed").bitwiseAND(F.lit(CODES - 1)), scale)
    return winners.select(
        "user_id",
        "movie_id",
        rating.cast("double").alias("rating"),
        F.shiftright("packed", CODES.bit_length() - 1).alias("timestamp"),
    )


def deduplication_tasks(path: Path) -> int:
    """Tasks for `latest`, by the size of a file or folder of ratings."""
    files = path.rglob("*") if path.is_dir() else [path]
    return max(1, -(-sum(file.stat().st_size for file in files if file.is_file()) // _BYTES_A_TASK))


def _rating(code: Column, scale: Scale) -> Column:
    """The rating with this number on the scale: 0.3 where 3 × 0.1 would be 0.30000000000000004."""
    for one in (1, 10, 100, 1000):
        low, step = scale.low * one, scale.step * one
        if abs(low - round(low)) + abs(step - round(step)) < 1e-9:
            return (code * round(step) + round(low)) / F.lit(float(one))
    return code * scale.step + scale.low


def quarantined(lines: DataFrame, blocks: DataFrame, table: str) -> DataFrame:
    """The quarantine table's rows: table, file (its name), line (from 1), reason, raw."""
    bad = lines.where(~F.col("header") & F.col("reason").isNotNull()).select("file", "block", "row", "reason", "raw")
    # Spark's URIs write a blank as %20, but leave a plus as it is.
    name = F.url_decode(F.replace(F.substring_index("file", "/", -1), F.lit("+"), F.lit("%2B")))
    numbered = with_line_numbers(bad, blocks)
    return numbered.select(F.lit(table).alias("table"), name.alias("file"), "line", "reason", "raw")


@dataclass(frozen=True)
class Accounts:
    """Where every line of a table went: lines = headers + kept + superseded + quarantined, or `check` refuses.

    Each is counted on its own: lines and headers in the input, kept and quarantined in the tables as they were written,
    superseded by pairs.
    """

    lines: int
    headers: int
    kept: int
    superseded: int
    quarantined: Mapping[str, int]

    def check(self, table: str) -> None:
        """Raises InputError, with the table's name, unless the counts add up."""
        total = self.headers + self.kept + self.superseded + sum(self.quarantined.values())
        if total != self.lines:
            raise InputError(
                f"{table}: {self.lines:,} lines came in but {total:,} are accounted for; the source changed while it "
                "was read, or this is a defect worth a report"
            )

    @property
    def quarantined_share(self) -> float:
        """Quarantined lines over data lines."""
        return sum(self.quarantined.values()) / max(1, self.lines - self.headers)
