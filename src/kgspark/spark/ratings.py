"""From lines to clean ratings: every line is kept, superseded by a later rating, or in quarantine with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.dialects import Scale, Source, TextLayout
from kgspark.spark.lines import (
    fields,
    is_header,
    line_problem,
    parquet_positions,
    read_lines,
    with_line_numbers,
)
from kgspark.spark.settings import CleanSettings, Columns
from kgspark.tables import RATINGS

# In the order in which they are tried: a line has the first reason that holds.
REASONS = (
    "unreadable_encoding",
    "unparsable_line",
    "wrong_field_count",
    "missing_user_id",
    "bad_user_id",
    "negative_user_id",
    "missing_movie_id",
    "bad_movie_id",
    "negative_movie_id",
    "rating_not_a_number",
    "rating_out_of_range",
    "rating_off_step",
    "timestamp_not_a_time",
    "unknown_movie",
)

QUARANTINE_SCHEMA = pa.schema(
    [("table", pa.string()), ("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)
BLOCK_SCHEMA = "file string, block bigint, lines bigint, first_row bigint"

# Ratings are numbered on their scale so that (timestamp, rating) packs into one long; see `latest`.
_CODES = 1 << 20
# Scales of more steps are parsed, as a long chain of comparisons would take longer.
_USUAL_RATINGS = 20
# Input for each task of de-duplication: at 25 bytes a line, a hash table of some 60 MB.
_BYTES_A_TASK = 16 << 20


def resolve_scale(settings: CleanSettings, scale: Scale) -> Scale:
    """The configured scale over the dialect's; InputError when it has no step between its ends."""
    low = scale.low if settings.rating_min is None else settings.rating_min
    high = scale.high if settings.rating_max is None else settings.rating_max
    step = scale.step if settings.rating_step is None else settings.rating_step
    if not low < high or (high - low) / step >= _CODES:
        raise InputError(f"clean: the scale {low}..{high} in steps of {step} is not one; set rating_min/max/step")
    return Scale(low, high, step)


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


@dataclass(frozen=True)
class Rules:
    """What a rating must satisfy: ids' type, scale, time window, and whether its movie must be known."""

    integer_ids: bool
    scale: Scale
    timestamp_min: int
    timestamp_max: int
    unknown_movies: str


def checked(raw: DataFrame, rules: Rules, movies: DataFrame | None) -> DataFrame:
    """Types every line and gives it its `reason` (null where it is good).

    Columns: user_id, movie_id (bigint or string), rating double, timestamp bigint, reason, header, and the position.
    """
    id_type = "bigint" if rules.integer_ids else "string"
    typed = raw.select(
        F.col("user_id").alias("user_text"),
        F.col("movie_id").alias("movie_text"),
        F.col("user_id").try_cast(id_type).alias("user_id"),
        F.col("movie_id").try_cast(id_type).alias("movie_id"),
        _number(F.col("rating"), rules.scale).alias("rating"),
        F.col("timestamp").try_cast("bigint").alias("timestamp"),
        "problem", "header", "raw", "file", "block", "row",
    )  # fmt: skip
    reason, good = _reason(rules), _is_good(rules)
    if movies is not None and rules.unknown_movies == "quarantine":
        typed = typed.join(_known(movies, id_type).withColumn("known", F.lit(True)), on="movie_id", how="left")
        reason = reason.when(F.col("known").isNull(), "unknown_movie")
        good = good & F.col("known").isNotNull()
    # Nearly every line is good: which reason there is to refuse it is asked of the others alone.
    reason = F.when(~good, reason)
    return typed.select(
        "user_id", "movie_id", "rating", "timestamp", reason.alias("reason"), "header", "raw", "file", "block", "row"
    )


def _reason(rules: Rules) -> Column:
    """The first of `REASONS` that holds of a typed line, but for the movie's being unknown."""
    steps = _steps(rules.scale)
    reason = F.when(F.col("problem").isNotNull(), F.col("problem"))
    for name in ("user", "movie"):
        reason = _id_problem(reason, name, rules.integer_ids)
    return (
        reason.when(F.col("rating").isNull(), "rating_not_a_number")
        .when((F.col("rating") < rules.scale.low) | (F.col("rating") > rules.scale.high), "rating_out_of_range")
        .when(F.abs(steps - _nearest(steps)) > 1e-6, "rating_off_step")
        .when(
            F.col("timestamp").isNull()
            | (F.col("timestamp") < rules.timestamp_min)
            | (F.col("timestamp") > rules.timestamp_max),
            "timestamp_not_a_time",
        )
    )


def _is_good(rules: Rules) -> Column:
    """Whether `_reason` is null, by fewer tests; null counts as no."""
    steps = _steps(rules.scale)
    good = _sound("user", rules) & _sound("movie", rules) & F.col("problem").isNull()
    good = good & F.col("rating").between(rules.scale.low, rules.scale.high) & (F.abs(steps - _nearest(steps)) <= 1e-6)
    good = good & F.col("timestamp").between(rules.timestamp_min, rules.timestamp_max)
    return F.coalesce(good, F.lit(False))


def _steps(scale: Scale) -> Column:
    return (F.col("rating") - scale.low) / scale.step


def _number(text: Column, scale: Scale) -> Column:
    """The rating as double, or null. Texts that a data set writes for the scale are looked up: parsing takes longer."""
    steps = round((scale.high - scale.low) / scale.step)
    usual = [scale.low + step * scale.step for step in range(steps, -1, -1)] if steps < _USUAL_RATINGS else []
    number = F.when(text.isNull(), F.lit(None).cast("double"))
    for value in usual:
        written = f"{value:.0f}" if scale.step % 1 == 0 else f"{round(value, 6)}"
        number = number.when(text == written, float(written))
    # The parser of doubles takes 4f, 0x1p2 and NaN; a rating ends in a digit or a point.
    return number.when(text.rlike(r"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*$"), text.try_cast("double"))


def _nearest(number: Column) -> Column:
    """The nearest integer, as bigint. Spark's `round` goes through decimal text, at a microsecond a number."""
    return F.floor(number + 0.5)


def _id_problem(reason: Column, name: str, integers: bool) -> Column:
    text, value = F.col(f"{name}_text"), F.col(f"{name}_id")
    reason = reason.when(text.isNull() | (F.length(F.trim(text)) == 0), f"missing_{name}_id")
    if integers:
        reason = reason.when(value.isNull(), f"bad_{name}_id").when(value < 0, f"negative_{name}_id")
    return reason


def _sound(name: str, rules: Rules) -> Column:
    """Whether an id is there and what it should be."""
    return F.col(f"{name}_id") >= 0 if rules.integer_ids else F.length(F.trim(f"{name}_text")) > 0


def _known(movies: DataFrame, id_type: str) -> DataFrame:
    return movies.select(F.col("movie_id").try_cast(id_type).alias("movie_id"))


def good_ratings(raw: DataFrame, rules: Rules, movies: DataFrame | None) -> DataFrame:
    """user_id, movie_id, rating, timestamp of the data lines that `checked` finds nothing wrong with.

    Movies are looked up for these columns alone, which is faster than for every line with its reason and text.
    """
    lines = checked(raw, rules, None)
    good = lines.where(~F.col("header") & F.col("reason").isNull()).select("user_id", "movie_id", "rating", "timestamp")
    if movies is None or rules.unknown_movies == "keep":
        return good
    return good.join(_known(movies, "bigint" if rules.integer_ids else "string"), on="movie_id", how="left_semi")


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
    code = _nearest(_steps(scale))
    packed = good.select("user_id", "movie_id", (F.col("timestamp") * _CODES + code).alias("packed"))
    # By user alone: a log that is sorted by user stays in runs, which compress well here and in every later table.
    placed = packed.repartition(tasks, "user_id")
    winners = placed.groupBy("user_id", "movie_id").agg(F.max("packed").alias("packed"))
    rating = _rating(F.col("packed").bitwiseAND(F.lit(_CODES - 1)), scale)
    return winners.select(
        "user_id",
        "movie_id",
        rating.cast("double").alias("rating"),
        F.shiftright("packed", _CODES.bit_length() - 1).alias("timestamp"),
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
