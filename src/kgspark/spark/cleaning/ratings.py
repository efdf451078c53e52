"""The ratings: read as text from lines of any dialect or from Parquet, and reduced to one of each pair."""

from collections.abc import Callable
from functools import partial

from pyspark.sql import Column, DataFrame, GroupedData, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from kgspark.spark.cleaning.events import bits_of_types, types_of_bits
from kgspark.spark.cleaning.rating_rules import Limits, rating_columns
from kgspark.spark.cleaning.scales import code_bits, nearest, parts_of_one, rating_at, steps_above
from kgspark.spark.cleaning.source.dialects import Source
from kgspark.spark.cleaning.source.lines import LINE_COLUMNS, fields, is_header, line_problem, read_lines
from kgspark.spark.cleaning.source.parquet_files import union
from kgspark.spark.cleaning.values import rating_text, time_text
from kgspark.spark.ids import id_text
from kgspark.tables import RATINGS, Columns

# Input bytes per task of de-duplication: at 25 bytes per line, a hash table of some 60 MB.
_BYTES_PER_TASK = 16 << 20
_LONG_BITS = 63
_MICROSECONDS = 1_000_000
_BEST = "best"
# Sums of ratings are exact to a millionth if the scale has finer steps than a thousandth.
_PARTS = 1_000_000
# The texts of a rating. The number that an event has stands in place of a rating.
_TEXTS = (Columns.USER_ID, Columns.MOVIE_ID, Columns.RATING, Columns.TIMESTAMP, Columns.EVENT)


def read_rating_texts(session: SparkSession, source: Source, limits: Limits) -> DataFrame:
    """The ratings as text: the strings of `_TEXTS` (null without such a column), `problem`, `header`, `LINE_COLUMNS`.

    Lazy.
    """
    layout = source.layouts[RATINGS]
    if layout is None:
        return union([_texts(part, limits) for part in source.parquet[RATINGS].read(session)])
    lines = read_lines(session, source.files[RATINGS], layout).withColumn("fields", fields(layout))
    absent = F.lit(None).cast("string")
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    return lines.select(
        *[at.get(name, absent).alias(name) for name in _TEXTS],
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
        Columns.TIMESTAMP: partial(time_text, timezone=limits.timezone),
        Columns.EVENT: id_text,
    }
    texts = {name: as_text[name](table[name], table.schema[name].dataType) for name in _TEXTS if name in table.columns}
    return table.select(
        *[texts.get(name, F.lit(None).cast("string")).alias(name) for name in _TEXTS],
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


def one_per_pair(good: DataFrame, limits: Limits, tasks: int) -> DataFrame:
    """One row per (user, movie) of `good_ratings`: `rating_columns`, with all types of the pair in `events`. Lazy.

    By `limits.repeated`: the latest row (of equal times, the one with the highest rating); the one with the highest
    rating (of equal ratings, the latest); or the sum of the ratings with the latest time. The result does not depend
    on the order of the rows, and rows of an earlier result may be among them.

    tasks  number of tasks; the hash table of each should fit its memory, or Spark sorts and spills the rows
    """
    rows = _summed(good, limits, tasks) if limits.repeated == "sum" else _best(good, limits, tasks)
    if limits.events is not None and limits.has_types:
        rows = rows.withColumn(Columns.EVENTS, types_of_bits(limits.events))
    return rows.select(*rating_columns(limits))


def with_earlier(good: DataFrame, earlier: DataFrame, limits: Limits) -> DataFrame:
    """The `good_ratings`, and the rows that `one_per_pair` made before. Lazy."""
    if limits.events is not None and limits.has_types:
        earlier = earlier.withColumn(Columns.EVENTS, bits_of_types(limits.events))
    return good.unionByName(earlier)


def _all_types(limits: Limits) -> list[Column]:
    return [F.bit_or(Columns.EVENTS).alias(Columns.EVENTS)] if limits.has_types else []


def _best(good: DataFrame, limits: Limits, tasks: int) -> DataFrame:
    """The row with the greatest time and rating, in the order of their importance.

    Both numbers are packed into one long where they fit: Spark aggregates a long by hashing but a struct by sorting.
    Few pairs occur twice, so all rows are shuffled: an aggregate before the shuffle would hash all of them and remove
    almost none.
    """
    per_second = 1 if limits.whole_seconds else _MICROSECONDS
    time = F.col(Columns.TIMESTAMP) if limits.whole_seconds else nearest(F.col(Columns.TIMESTAMP) * per_second)
    time = F.coalesce(time, F.lit(0).cast("bigint"))  # without times, all are equal
    code = nearest(steps_above(F.col(Columns.RATING), limits.scale))
    bits = {"time": ((limits.times[1] + 1) * per_second).bit_length(), "code": code_bits(limits.scale)}
    first, second = ("time", "code") if limits.repeated == "latest" else ("code", "time")
    numbers = {"time": time, "code": code}
    if sum(bits.values()) < _LONG_BITS:
        order = F.shiftleft(numbers[first], bits[second]).bitwiseOR(numbers[second])
        parts = {
            first: F.shiftright(_BEST, bits[second]),
            second: F.col(_BEST).bitwiseAND(F.lit((1 << bits[second]) - 1)),
        }
    else:
        order = F.struct(numbers[first].alias(first), numbers[second].alias(second))
        parts = {name: F.col(_BEST)[name] for name in numbers}
    types = [Columns.EVENTS] if limits.has_types else []
    rows = good.select(Columns.USER_ID, Columns.MOVIE_ID, order.alias(_BEST), *types)
    winners = _by_pair(rows, tasks).agg(F.max(_BEST).alias(_BEST), *_all_types(limits))
    rating, timestamp = rating_at(parts["code"], limits.scale), parts["time"]
    if not limits.whole_seconds:
        timestamp = timestamp / float(_MICROSECONDS)
    if not limits.has_times:
        timestamp = F.lit(None).cast("double")
    return winners.withColumns({Columns.RATING: rating, Columns.TIMESTAMP: timestamp})


def _summed(good: DataFrame, limits: Limits, tasks: int) -> DataFrame:
    """Ratings are summed as whole numbers: a sum of doubles would depend on their order."""
    parts = float(parts_of_one(limits.scale) or _PARTS)
    numbers = good.withColumn(Columns.RATING, nearest(F.col(Columns.RATING) * parts))
    summed = _by_pair(numbers, tasks).agg(
        F.sum(Columns.RATING).alias(Columns.RATING),
        F.max(Columns.TIMESTAMP).alias(Columns.TIMESTAMP),
        *_all_types(limits),
    )
    return summed.withColumn(Columns.RATING, F.col(Columns.RATING) / F.lit(parts))


def _by_pair(rows: DataFrame, tasks: int) -> GroupedData:
    # Shuffled by user alone: a log that is sorted by user keeps its runs, which compress well here and in later tables.
    return rows.repartition(tasks, Columns.USER_ID).groupBy(Columns.USER_ID, Columns.MOVIE_ID)


def deduplication_tasks(input_bytes: int) -> int:
    """Number of tasks for `latest`, from the size of the ratings' files."""
    return max(1, -(-input_bytes // _BYTES_PER_TASK))
