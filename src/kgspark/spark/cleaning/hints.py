"""Hints for a source whose ratings are refused: what the refused values look like, and which setting reads them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.names import OURS, Names
from kgspark.spark.cleaning.accounts import Accounts, format_reasons
from kgspark.spark.cleaning.rating_rules import UNKNOWN_MOVIE, text_of
from kgspark.spark.cleaning.time_units import LOOKS
from kgspark.tables import Columns

_LONGEST_EXAMPLE = 40
# Fraction of the genres with a further separator inside from which this is told: `Sci-Fi/Fantasy` alone is a genre.
_LEAST_JOINED = 0.1


@dataclass(frozen=True)
class _Look:
    """What refused texts of a column may look like.

    pattern  regular expression for such a text, without the blanks around it
    advice   what to do; `{example}` is the first of the texts
    """

    pattern: str
    advice: str


_IDS = (
    _Look(r"^-?0[0-9]+(\.0+)?$", "ids have leading zeros, such as {example}: set source.ids=string"),
    _Look("\ufffd", "ids have bytes that are no text in UTF-8: write them as text"),
    _Look("", "ids are no integers, such as {example}: set source.ids=string"),
)
_TIMES = (
    *[
        _Look(pattern, f"times look like {'{example}' if unit == 'iso' else unit}: set source.timestamp_unit={unit}")
        for unit, pattern in LOOKS.items()
    ],
    _Look("", "times look like {example}: write them in seconds since 1970"),
)
_RATINGS = (
    _Look(r"^-?[0-9]*,[0-9]+$", "ratings look like {example}: set source.decimal=,"),
    _Look(r"^-?[0-9]*\.[0-9]+$", "ratings look like {example}: set source.decimal=."),
    _Look("", "ratings look like {example}: write them as numbers"),
)
_OF_REASON: dict[str, tuple[str, Sequence[_Look]]] = {
    "leading_zeros_user_id": (Columns.USER_ID, _IDS),
    "leading_zeros_movie_id": (Columns.MOVIE_ID, _IDS),
    "bad_user_id": (Columns.USER_ID, _IDS),
    "bad_movie_id": (Columns.MOVIE_ID, _IDS),
    "timestamp_not_a_time": (Columns.TIMESTAMP, _TIMES),
    "rating_not_a_number": (Columns.RATING, _RATINGS),
}


# The first second that a time in seconds, up to the year 2100, does not become by another unit.
_SECONDS_IN_1970 = {"milliseconds": 4_102_445, "microseconds": 4_103, "nanoseconds": 5}
# Fraction of the lines from which a reason says something about the source, and not about single lines.
_LEAST_SHARE = 0.2
_NEVER_A_SLIP = ("leading_zeros_user_id", "leading_zeros_movie_id")


def collect_hint(
    checked: DataFrame,
    lines: int,
    quarantined: Mapping[str, int],
    movies: Accounts | None,
    names: Names = OURS,
) -> str:
    """One sentence about the ratings that are refused for the most frequent reason; empty if there is nothing to say.

    checked      the lines as `with_reason` gives them
    lines        number of these lines without headers
    quarantined  number of those that are refused, by reason; one or more
    movies       accounts of the movie table; None if there is none
    """
    reason = max(quarantined, key=lambda name: quarantined[name])
    if quarantined[reason] < _LEAST_SHARE * lines and reason not in _NEVER_A_SLIP:
        return ""
    refused = checked.where(~F.col("header") & (F.col("reason") == reason))
    if reason == "rating_out_of_range":
        least, most = refused.agg(F.min(Columns.RATING), F.max(Columns.RATING)).collect()[0]
        return f"ratings reach from {least:g} to {most:g}: set clean.rating_min and clean.rating_max"
    if reason == "rating_off_step":
        least = refused.agg(F.min(Columns.RATING)).collect()[0][0]
        return f"ratings such as {least:g} are between two steps of the scale: set clean.rating_step"
    if reason == UNKNOWN_MOVIE:
        return _hint_of_movies(movies, names)
    return _hint_of_looks(refused, *_OF_REASON[reason]) if reason in _OF_REASON else ""


def collect_genre_hint(movies: DataFrame, separator: str, names: Names = OURS) -> str:
    """One sentence if no movie has two genres, but many have a name such as `Action, Comedy`; otherwise empty."""
    others = f"[{re.escape(''.join(sorted(set('|,;/') - set(separator))))}]"
    first = F.col(Columns.GENRES)[0]
    named = movies.where(F.size(Columns.GENRES) > 0)
    joined = F.when(first.rlike(others), first)
    most, count, odd, example = named.agg(
        F.max(F.size(Columns.GENRES)), F.count("*"), F.count(joined), F.min(joined)
    ).collect()[0]
    if most != 1 or odd < count * _LEAST_JOINED:
        return ""
    return f"no {names.movie} has two {names.genres}, and one is {example!r}: set source.genre_separator"


def collect_time_hint(ratings: DataFrame, unit: str) -> str:
    """One sentence if all times lie in 1970 by a unit finer than seconds, as times in seconds then do; else empty.

    ratings  the clean ratings
    """
    if unit not in _SECONDS_IN_1970 or Columns.TIMESTAMP not in ratings.columns:
        return ""
    last = ratings.agg(F.max(Columns.TIMESTAMP)).collect()[0][0]
    if not last or last >= _SECONDS_IN_1970[unit]:
        return ""
    return f"all times lie in 1970, so they look like seconds: set source.timestamp_unit=seconds (now {unit})"


def _hint_of_movies(movies: Accounts | None, names: Names) -> str:
    if movies is not None and movies.quarantined:
        reasons = format_reasons(movies.quarantined)
        return f"{movies.quarantined_share:.0%} of the {names.movies} are refused, too: {reasons}"
    return f"their {names.movies} are not in the {names.movie} table; clean.unknown_movies=keep keeps such ratings"


def _hint_of_looks(refused: DataFrame, column: str, looks: Sequence[_Look]) -> str:
    """The advice of the look that most texts of the column have."""
    text = F.trim(text_of(column))
    look = F.coalesce(*[F.when(text.rlike(look.pattern), F.lit(i)) for i, look in enumerate(looks)])
    counted = refused.select(look.alias("look"), text.alias("text")).groupBy("look")
    row = counted.agg(F.count("*").alias("lines"), F.min("text").alias("example")).orderBy(F.desc("lines")).first()
    if row is None or row["look"] is None:
        return ""
    return looks[row["look"]].advice.format(example=repr(row["example"][:_LONGEST_EXAMPLE]))
