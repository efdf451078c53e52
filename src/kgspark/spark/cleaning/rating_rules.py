"""The rules for ratings, in one table: it decides which lines are good, and gives the reason for the others."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.events import (
    EVENT_RATING,
    Events,
    bit_of_type,
    has_ignored_type,
    has_unknown_type,
    with_event_ratings,
)
from kgspark.spark.cleaning.scales import nearest, steps_above
from kgspark.spark.cleaning.settings import CleanSettings
from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.spark.cleaning.source.lines import LINE_COLUMNS, LINE_PROBLEMS
from kgspark.spark.cleaning.values import read_rating, read_time
from kgspark.spark.ids import ID_PROBLEMS, id_problems, read_id
from kgspark.tables import Columns

UNKNOWN_MOVIE, AFTER_RUN_DATE = "unknown_movie", "after_run_date"
_VALUES = (Columns.USER_ID, Columns.MOVIE_ID, Columns.RATING, Columns.TIMESTAMP)
# Largest distance of a rating from a step of the scale, in steps: numbers such as 0.3 are not exact as doubles.
_OFF_STEP = 1e-6
# With more steps, the numbers of ratings on their scale are not exact as doubles.
_MOST_STEPS = 1e15


@dataclass(frozen=True)
class Limits:
    """The values that the rules use.

    times       first and last time, in seconds since 1970
    null_texts  texts that stand for a missing id
    unit        unit or format of times in the source
    timezone    time zone of times that name none
    whole_seconds  True if times are kept in whole seconds, as bigint; False with their fraction, as double
    has_times   False if no line has a time
    until       the night reads only times before this second since 1970; None: all
    decimal     character before the fraction of a rating
    genre_separator  separator of the genres of a movie
    events      how events become ratings; None if the lines have ratings
    repeated    what several lines of one user and movie make: latest, strongest or sum
    """

    integer_ids: bool
    scale: Scale
    times: tuple[int, int]
    unknown_movies: str
    null_texts: tuple[str, ...] = ()
    unit: str = "seconds"
    timezone: str = "UTC"
    whole_seconds: bool = True
    has_times: bool = True
    until: int | None = None
    decimal: str = "."
    genre_separator: str = "|"
    events: Events | None = None
    repeated: str = "latest"

    @property
    def id_type(self) -> str:
        """Spark type of user and movie ids."""
        return "bigint" if self.integer_ids else "string"

    @property
    def has_types(self) -> bool:
        """True if events have types, which the clean table keeps."""
        return self.events is not None and bool(self.events.types)


@dataclass(frozen=True)
class Rule:
    """A reason to refuse a rating.

    reason    the reason's name in the quarantine table
    bad       builds the condition under which a line is refused, over the columns of `_typed`; null counts as true
    of_movie  True if the condition also reads `known`, which is true if the movie table has the movie, else null
    is_seen   True if a refused line still says that the user has seen the movie: its ids are good
    is_bad    False if the line is left out without being bad: it is counted by its reason, and in no quarantine
    """

    reason: str
    bad: Callable[[Limits], Column]
    of_movie: bool = False
    is_seen: bool = False
    is_bad: bool = True


def _id_rules(kind: str) -> tuple[Rule, ...]:
    return tuple(Rule(f"{problem}_{kind}_id", partial(_id_problem, kind, problem)) for problem in ID_PROBLEMS)


def _id_problem(kind: str, problem: str, limits: Limits) -> Column:
    found = id_problems(F.col(f"{kind}_id"), text_of(f"{kind}_id"), limits.id_type, limits.null_texts)
    return found[problem]


# In the order in which they are tried: a line gets the first reason that applies. A rule may rely on earlier rules.
RULES: tuple[Rule, ...] = (
    # Before all others: what is wrong with a line of tomorrow does not matter tonight.
    Rule(AFTER_RUN_DATE, lambda limits: _is_after(limits.until, limits.times[1]), is_bad=False),
    Rule("ignored_event", lambda limits: has_ignored_type(limits.events), is_bad=False),
    *_id_rules("user"),
    *_id_rules("movie"),
    Rule("unknown_event", lambda limits: has_unknown_type(limits.events), is_seen=True),
    Rule("rating_not_a_number", lambda limits: F.col(Columns.RATING).isNull(), is_seen=True),
    Rule(
        "rating_out_of_range",
        lambda limits: _is_outside(Columns.RATING, limits.scale.low, limits.scale.high),
        is_seen=True,
    ),
    Rule("rating_off_step", lambda limits: _distance_to_step(limits.scale) > _OFF_STEP, is_seen=True),
    Rule("timestamp_not_a_time", lambda limits: _has_no_time(limits), is_seen=True),
    Rule(UNKNOWN_MOVIE, lambda limits: F.col("known").isNull(), of_movie=True),
)
# All reasons for a rating to be in quarantine. A line that cannot be split into fields is not checked further.
REASONS = (*LINE_PROBLEMS, *(rule.reason for rule in RULES if rule.is_bad))
# The reasons to leave a line out that is not bad.
LEFT_OUT = tuple(rule.reason for rule in RULES if not rule.is_bad)


def resolve_scale(settings: CleanSettings, scale: Scale) -> Scale:
    """The configured scale, completed by that of the source; InputError if it has no step between its ends."""
    low = scale.low if settings.rating_min is None else settings.rating_min
    high = scale.high if settings.rating_max is None else settings.rating_max
    step = scale.step if settings.rating_step is None else settings.rating_step
    if not low < high or (high - low) / step >= _MOST_STEPS:
        problem = f"has more than {_MOST_STEPS:.0e} steps" if low < high else "is not a rating scale"
        raise InputError(
            f"clean: {low}..{high} in steps of {step} {problem}; set clean.rating_min, rating_max and rating_step"
        )
    return Scale(low, high, step)


def seen_reasons() -> list[str]:
    """The reasons with which a refused line still says that the user has seen the movie."""
    return [rule.reason for rule in RULES if rule.is_seen]


def with_reason(raw: DataFrame, limits: Limits, movies: DataFrame | None) -> DataFrame:
    """Every line with typed values and the `reason` to refuse it (null if the line is good). Lazy.

    Columns: user_id, movie_id (bigint or string), rating double, timestamp (bigint or double), the text of each
    (`text_of`), reason, header, and the position.
    """
    lines, rules = _typed(raw, limits), _rules_in_force(limits, movies)
    if movies is not None and any(rule.of_movie for rule in rules):
        lines = _with_known(lines, limits, movies)
    # Nearly every line is good, so the reason is computed for the other lines only.
    reason = F.when(~_is_good(rules, limits), _first_reason(rules, limits))
    return lines.select(*_VALUES, *map(text_of, _VALUES), reason.alias("reason"), "header", *LINE_COLUMNS)


def good_ratings(raw: DataFrame, limits: Limits, movies: DataFrame | None) -> DataFrame:
    """`rating_columns` of the data lines to which `with_reason` gives no reason; `events` is a bit. Lazy.

    The movies are joined after the other rules, with four columns: this is faster than to join all lines with text.
    """
    rules = _rules_in_force(limits, movies)
    of_line = [rule for rule in rules if not rule.of_movie]
    of_movie = [rule for rule in rules if rule.of_movie]
    columns = rating_columns(limits)
    good = _typed(raw, limits).where(~F.col("header") & _is_good(of_line, limits)).select(*columns)
    if movies is None or not of_movie:
        return good
    return _with_known(good, limits, movies).where(_none_holds(of_movie, limits)).select(*columns)


def rating_columns(limits: Limits) -> list[str]:
    """The columns of the clean ratings: user_id, movie_id, rating, timestamp; and events, if events have types."""
    return [*_VALUES, *([Columns.EVENTS] if limits.has_types else [])]


def _rules_in_force(limits: Limits, movies: DataFrame | None) -> list[Rule]:
    """All rules; without a movie table, those that need none."""
    with_movies = movies is not None and limits.unknown_movies == "quarantine"
    return [rule for rule in RULES if with_movies or not rule.of_movie]


def _is_good(rules: list[Rule], limits: Limits) -> Column:
    """True if the line can be split into fields and no rule applies, else false."""
    return F.col("problem").isNull() & _none_holds(rules, limits)


def _none_holds(rules: list[Rule], limits: Limits) -> Column:
    """True if the condition of every rule is false; a condition that is true or null makes it false."""
    return F.coalesce(reduce(Column.__and__, [~rule.bad(limits) for rule in rules]), F.lit(False))


def _first_reason(rules: list[Rule], limits: Limits) -> Column:
    """The line's problem, or the reason of the first rule whose condition is true or null."""
    reason = F.when(F.col("problem").isNotNull(), F.col("problem"))
    for rule in rules:
        reason = reason.when(F.coalesce(rule.bad(limits), F.lit(True)), rule.reason)
    return reason


def text_of(column: str) -> Column:
    """The text of a value that `with_reason` has read as `column`."""
    return F.col(f"{column}_text")


def _typed(raw: DataFrame, limits: Limits) -> DataFrame:
    """Ids, rating and timestamp with their types, null if the text has no such value, their texts, and `event`."""
    if limits.events is None:
        rating = read_rating(F.col(Columns.RATING), limits.scale, limits.decimal)
    else:
        raw = with_event_ratings(raw, limits.events, limits.scale, limits.decimal)
        rating = F.col(EVENT_RATING)
    time = read_time(F.col(Columns.TIMESTAMP), limits.unit, limits.timezone, limits.whole_seconds)
    return raw.select(
        *[F.col(name).alias(f"{name}_text") for name in _VALUES],
        *[read_id(F.col(i), limits.id_type, limits.null_texts).alias(i) for i in (Columns.USER_ID, Columns.MOVIE_ID)],
        rating.alias(Columns.RATING),
        time.alias(Columns.TIMESTAMP),
        *([bit_of_type(limits.events).alias(Columns.EVENTS)] if limits.events is not None and limits.has_types else []),
        Columns.EVENT, "problem", "header", *LINE_COLUMNS,
    )  # fmt: skip


def _with_known(lines: DataFrame, limits: Limits, movies: DataFrame) -> DataFrame:
    """Adds `known`: true if the movie table has the movie, else null."""
    ids = movies.select(F.col(Columns.MOVIE_ID).try_cast(limits.id_type).alias(Columns.MOVIE_ID))
    return lines.join(ids.withColumn("known", F.lit(True)), on=Columns.MOVIE_ID, how="left")


def _is_outside(column: str, low: float, high: float) -> Column:
    return ~F.col(column).between(low, high)


def _has_no_time(limits: Limits) -> Column:
    return ~_is_time(*limits.times) if limits.has_times else F.lit(False)


def _is_after(until: int | None, latest: int) -> Column:
    """True for a time from the second `until` on; never null. A time after `latest` is none, and bad."""
    return F.lit(False) if until is None else F.coalesce(_is_time(until, latest), F.lit(False))


def _is_time(first: int, last: int) -> Column:
    """True for a time from the beginning of the first to the end of the last second."""
    return (F.col(Columns.TIMESTAMP) >= first) & (F.col(Columns.TIMESTAMP) < last + 1)


def _distance_to_step(scale: Scale) -> Column:
    """The distance, in steps, between the column `rating` and the nearest step of the scale."""
    steps = steps_above(F.col(Columns.RATING), scale)
    return F.abs(steps - nearest(steps))


def is_refused() -> Column:
    """True for a data line whose `reason` is one to refuse it, and not only to leave it out."""
    return ~F.col("header") & F.col("reason").isNotNull() & ~F.col("reason").isin(*LEFT_OUT)
