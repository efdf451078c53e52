"""The ratings: read as text from lines of any dialect or from Parquet, and reduced to the latest one of each pair."""

from collections.abc import Callable
from functools import partial

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from kgspark.spark.cleaning.rating_rules import CODES, Limits, nearest, steps_above
from kgspark.spark.cleaning.source.dialects import Scale, Source
from kgspark.spark.cleaning.source.lines import LINE_COLUMNS, fields, is_header, line_problem, read_lines
from kgspark.spark.cleaning.source.parquet_files import union
from kgspark.spark.cleaning.values import rating_text, time_text
from kgspark.spark.ids import id_text
from kgspark.tables import RATINGS, Columns

# Input bytes per task of de-duplication: at 25 bytes per line, a hash table of some 60 MB.
_BYTES_PER_TASK = 16 << 20


def read_rating_texts(session: SparkSession, source: Source, limits: Limits) -> DataFrame:
    """The ratings as text: user_id, movie_id, rating, timestamp strings, `problem`, `header`, `LINE_COLUMNS`. Lazy."""
    layout = source.layouts[RATINGS]
    if layout is None:
        return union([_texts(part, limits) for part in source.parquet[RATINGS].read(session)])
    lines = read_lines(session, source.files[RATINGS], layout).withColumn("fields", fields(layout))
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    return lines.select(
        *[at[name].alias(name) for name in (Columns.USER_ID, Columns.MOVIE_ID, Columns.RATING, Columns.TIMESTAMP)],
        line_problem(layout, source.unfinished).alias("problem"),
        is_header(layout).alias("header"),
        *LINE_COLUMNS,
    )


def _texts(table: DataFrame, limits: Limits) -> DataFrame:
    """Typed ratings of Parquet files as text."""
    as_text: dict[str, Callable[[Column, DataType], Column]] = {
        Columns.USER_ID: id_text,
        Columns.MOVIE_ID: id_text,
        Columns.RATING: partial(rating_text, decimal=limits.decimal),
        Columns.TIMESTAMP: partial(time_text, unit=limits.unit),
    }
    return table.select(
        *[text(table[name], table.schema[name].dataType).alias(name) for name, text in as_text.items()],
        F.lit(None).cast("string").alias("problem"),
        "header",
        *LINE_COLUMNS,
    )


def has_integer_ids(source: Source) -> bool:
    """True if the ids are integers: by source.ids, and for Parquet also by the types of the columns."""
    if source.layouts[RATINGS] is not None or not source.integer_ids:
        return source.integer_ids
    table = source.parquet[RATINGS]
    return table.holds_numbers(Columns.USER_ID) and table.holds_numbers(Columns.MOVIE_ID)


def latest(good: DataFrame, scale: Scale, tasks: int) -> DataFrame:
    """One row per (user, movie): the latest of `good_ratings`; of equal times, the one with the higher rating. Lazy.

    Timestamp and the rating's number on its scale are packed into one long. Spark aggregates a long by hashing but a
    struct by sorting, and the result does not depend on the order of the rows. Few pairs occur twice, so all rows are
    shuffled: an aggregate before the shuffle would hash all of them and remove almost none.

    tasks  number of tasks; the hash table of each should fit its memory, or Spark sorts and spills the rows
    """
    code = nearest(steps_above(scale))
    packed = good.select(Columns.USER_ID, Columns.MOVIE_ID, (F.col(Columns.TIMESTAMP) * CODES + code).alias("packed"))
    # By user alone: a log that is sorted by user keeps its runs, which compress well here and in every later table.
    by_user = packed.repartition(tasks, Columns.USER_ID)
    winners = by_user.groupBy(Columns.USER_ID, Columns.MOVIE_ID).agg(F.max("packed").alias("packed"))
    rating = _rating(F.col("packed").bitwiseAND(F.lit(CODES - 1)), scale)
    return winners.select(
        Columns.USER_ID,
        Columns.MOVIE_ID,
        rating.cast("double").alias(Columns.RATING),
        F.shiftright("packed", CODES.bit_length() - 1).alias(Columns.TIMESTAMP),
    )


def deduplication_tasks(input_bytes: int) -> int:
    """Number of tasks for `latest`, from the size of the ratings' files."""
    return max(1, -(-input_bytes // _BYTES_PER_TASK))


def _rating(code: Column, scale: Scale) -> Column:
    """The rating with this number on the scale: 0.3, while 3 × 0.1 would be 0.30000000000000004."""
    for one in (1, 10, 100, 1000):
        low, step = scale.low * one, scale.step * one
        if abs(low - round(low)) + abs(step - round(step)) < 1e-9:
            return (code * round(step) + round(low)) / F.lit(float(one))
    return code * scale.step + scale.low
