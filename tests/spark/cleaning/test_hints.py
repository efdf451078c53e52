"""A source that is refused as a whole gets one sentence about its values and the setting that reads them."""

from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import InputError
from kgspark.names import Names
from kgspark.spark.cleaning.hints import collect_hint, collect_time_hint
from kgspark.spark.cleaning.rating_rules import Limits, with_reason
from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.stages import clean_ratings
from nights import a_night

GOOD = {"user_id": "7", "movie_id": "1", "rating": "4.0", "timestamp": "1600001020"}
COLUMNS = "event string, problem string, header boolean, raw string, file string, block bigint, row bigint"


def _hint(spark: Any, bad: list[dict[str, str]], lines: int, unit: str = "seconds") -> str:
    rows = [(*(GOOD | changed).values(), None, None, False, "", "", 0, i) for i, changed in enumerate([{}, *bad])]
    raw = spark.createDataFrame(rows, "user_id string, movie_id string, rating string, timestamp string, " + COLUMNS)
    movies = spark.createDataFrame([(1,), (2,)], "movie_id bigint")
    limits = Limits(True, Scale(0.5, 5, 0.5), (0, 4_102_444_799), "quarantine", unit=unit)
    checked = with_reason(raw, limits, movies).cache()
    refused = {
        row["reason"]: row["count"] for row in checked.where("reason IS NOT NULL").groupBy("reason").count().collect()
    }
    return collect_hint(checked, lines, refused, None, Names(movie="sku"))


@pytest.mark.parametrize(
    ("column", "text", "hint"),
    [
        ("timestamp", "1600001020000", "times look like milliseconds: set source.timestamp_unit=milliseconds"),
        ("timestamp", "1600001020000000", "times look like microseconds: set source.timestamp_unit=microseconds"),
        ("timestamp", "2020-09-13T12:43Z", "times look like '2020-09-13T12:43Z': set source.timestamp_unit=iso"),
        ("timestamp", "13.09.2020", "times look like '13.09.2020': write them in seconds since 1970"),
        ("rating", "10", "ratings reach from 10 to 10: set clean.rating_min and clean.rating_max"),
        ("rating", "3.3", "ratings such as 3.3 are between two steps of the scale: set clean.rating_step"),
        ("rating", "3,5", "ratings look like '3,5': set source.decimal=,"),
        ("rating", "good", "ratings look like 'good': write them as numbers"),
        ("user_id", "007", "ids have leading zeros, such as '007': set source.ids=string"),
        ("user_id", "u\ufffd", "ids have bytes that are no text in UTF-8: write them as text"),
        ("movie_id", "B0001", "ids are no integers, such as 'B0001': set source.ids=string"),
        ("movie_id", "B" * 50, f"ids are no integers, such as '{'B' * 40}': set source.ids=string"),
        (
            "movie_id",
            "99",
            "their skus are not in the sku table; clean.unknown_movies=keep keeps such ratings",
        ),
        ("movie_id", "", ""),
    ],
)
def test_the_hint_says_what_the_values_look_like(spark: Any, column: str, text: str, hint: str) -> None:
    assert _hint(spark, [{column: text}] * 9, lines=10) == hint


def test_seconds_under_another_unit_are_known(spark: Any) -> None:
    assert _hint(spark, [{}] * 9, lines=10, unit="iso") == "times look like seconds: set source.timestamp_unit=seconds"


def test_of_several_looks_the_most_frequent_counts(spark: Any) -> None:
    bad = [{"timestamp": text} for text in ("1600001020000", "1600001020001", "x", "1600001020000000")]
    assert "milliseconds" in _hint(spark, bad, lines=5)


def test_single_bad_lines_say_nothing_about_the_source(spark: Any) -> None:
    assert _hint(spark, [{"user_id": "x17"}], lines=100) == ""
    assert _hint(spark, [{"user_id": "007"}], lines=100).endswith("set source.ids=string")


def test_the_hint_is_in_the_one_line_of_the_error(spark: Any, tmp_path: Path) -> None:
    """The movie table is refused as a whole, so every movie is unknown."""
    (tmp_path / "own.csv").write_text("user_id,movie_id,rating,timestamp\n1,1,4.0,5\n")
    (tmp_path / "movies.csv").write_text("movie_id\nm1\n")
    source = {"path": str(tmp_path / "own.csv"), "format": "table", "movies": str(tmp_path / "movies.csv")}
    with pytest.raises(InputError) as caught:
        clean_ratings.run(a_night(tmp_path / "lake", spark, source=source))
    assert "1 unknown_movie; 100% of the movies are refused, too: 1 bad_movie_id; they are listed in" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("unit", "last", "told"),
    [
        ("milliseconds", 4_102_444, True),  # the last second of 2099
        ("milliseconds", 4_102_445, False),
        ("microseconds", 4_102, True),
        ("microseconds", 4_103, False),
        ("seconds", 5, False),
        ("milliseconds", None, False),
    ],
)
def test_seconds_under_a_finer_unit_are_known(spark: Any, unit: str, last: int | None, told: bool) -> None:
    ratings = spark.createDataFrame([(7,), (last,)] if last else [(None,)], "timestamp bigint")
    hint = "all times lie in 1970, so they look like seconds: set source.timestamp_unit=seconds"
    assert collect_time_hint(ratings, unit) == (f"{hint} (now {unit})" if told else "")


def test_the_hint_about_times_is_in_the_stage_s_line(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("user_id,movie_id,rating,timestamp\n1,1,4.0,1600001020\n")
    source = {"path": str(tmp_path / "own.csv"), "format": "table", "timestamp_unit": "milliseconds"}
    line = clean_ratings.run(a_night(tmp_path / "lake", spark, source=source)).summary
    assert "; all times lie in 1970, so they look like seconds" in line
