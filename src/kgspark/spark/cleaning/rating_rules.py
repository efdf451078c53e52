"""The rules that a rating must pass, as column expressions: its fields typed, and the first reason to refuse it."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.dialects import Scale
from kgspark.spark.settings import CleanSettings

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

# Ratings are numbered on their scale so that (timestamp, rating) packs into one long; see `latest`.
CODES = 1 << 20
# Scales of more steps are parsed, as a long chain of comparisons would take longer.
_USUAL_RATINGS = 20


def resolve_scale(settings: CleanSettings, scale: Scale) -> Scale:
    """The configured scale over the dialect's; InputError when it has no step between its ends."""
    low = scale.low if settings.rating_min is None else settings.rating_min
    high = scale.high if settings.rating_max is None else settings.rating_max
    step = scale.step if settings.rating_step is None else settings.rating_step
    if not low < high or (high - low) / step >= CODES:
        raise InputError(f"clean: the scale {low}..{high} in steps of {step} is not one; set rating_min/max/step")
    return Scale(low, high, step)


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
    steps = steps_above(rules.scale)
    reason = F.when(F.col("problem").isNotNull(), F.col("problem"))
    for name in ("user", "movie"):
        reason = _id_problem(reason, name, rules.integer_ids)
    return (
        reason.when(F.col("rating").isNull(), "rating_not_a_number")
        .when((F.col("rating") < rules.scale.low) | (F.col("rating") > rules.scale.high), "rating_out_of_range")
        .when(F.abs(steps - nearest(steps)) > 1e-6, "rating_off_step")
        .when(
            F.col("timestamp").isNull()
            | (F.col("timestamp") < rules.timestamp_min)
            | (F.col("timestamp") > rules.timestamp_max),
            "timestamp_not_a_time",
        )
    )


def _is_good(rules: Rules) -> Column:
    """Whether `_reason` is null, by fewer tests; null counts as no."""
    steps = steps_above(rules.scale)
    good = _sound("user", rules) & _sound("movie", rules) & F.col("problem").isNull()
    good = good & F.col("rating").between(rules.scale.low, rules.scale.high) & (F.abs(steps - nearest(steps)) <= 1e-6)
    good = good & F.col("timestamp").between(rules.timestamp_min, rules.timestamp_max)
    return F.coalesce(good, F.lit(False))


def steps_above(scale: Scale) -> Column:
    """How many steps, as double, the column `rating` lies above the scale's low end."""
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


def nearest(number: Column) -> Column:
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
