"""A source that is refused as a whole gets one sentence about its values and the setting that reads them."""

from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import InputError
from kgspark.stages import clean_ratings
from nights import a_night

GOOD = {"user": "7", "movie": "1", "stars": "4.0", "at": "1600001020"}


@pytest.mark.parametrize(
    ("changed", "settings", "hint"),
    [
        ({"at": "1600001020000"}, {}, "times look like milliseconds: set source.timestamp_unit=milliseconds"),
        ({"at": "1600001020000000"}, {}, "times look like microseconds: set source.timestamp_unit=microseconds"),
        ({"at": "2020-09-13T12:43:40Z"}, {}, "times look like '2020-09-13T12:43:40Z': set source.timestamp_unit=iso"),
        ({"at": "1600001020"}, {"timestamp_unit": "iso"}, "times look like seconds: set source.timestamp_unit=seconds"),
        ({"at": "13.09.2020"}, {}, "times look like '13.09.2020': write them in seconds since 1970"),
        ({"stars": "10"}, {}, "ratings reach from 10 to 10: set clean.rating_min and clean.rating_max"),
        ({"stars": "3.3"}, {}, "ratings such as 3.3 are between two steps of the scale: set clean.rating_step"),
        ({"stars": '"3,5"'}, {}, "ratings look like '3,5': set source.decimal=,"),
        ({"stars": "good"}, {}, "ratings look like 'good': write them as numbers"),
        ({"user": "007"}, {}, "ids have leading zeros, such as '007': set source.ids=string"),
        ({"movie": "B0001"}, {}, "ids are no integers, such as 'B0001': set source.ids=string"),
        ({"movie": "99"}, {}, "these movies are not in the movie table: set clean.unknown_movies=keep"),
    ],
)
def test_the_error_says_what_the_values_look_like(
    spark: Any, tmp_path: Path, changed: dict[str, str], settings: dict[str, Any], hint: str
) -> None:
    bad = [",".join((GOOD | changed).values())] * 9
    (tmp_path / "own.csv").write_text("\n".join(["user,movie,stars,at", ",".join(GOOD.values()), *bad]) + "\n")
    (tmp_path / "movies.csv").write_text("movie\n1\n")
    with pytest.raises(InputError) as caught:
        _clean(spark, tmp_path, settings)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_movies_that_are_refused_are_named_where_their_ratings_are(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("user,movie,stars,at\n1,1,4.0,5\n")
    (tmp_path / "movies.csv").write_text("movie\nm1\n")
    with pytest.raises(InputError, match="1 unknown_movie; 100% of the movies are refused, too: 1 bad_movie_id"):
        _clean(spark, tmp_path, {})


def _clean(spark: Any, folder: Path, settings: dict[str, Any]) -> None:
    columns = {"user": "user", "movie": "movie", "rating": "stars", "timestamp": "at"}
    source = {
        "path": str(folder / "own.csv"),
        "format": "table",
        "columns": columns,
        "movies": str(folder / "movies.csv"),
    }
    clean_ratings.run(a_night(folder / "lake", spark, source=source | settings))
