"""The candidates of each user, from conditions, lists and segments."""

from typing import Any

import pytest

from kgspark.errors import ConfigError, InputError
from kgspark.graph.layout import EntityLayout
from kgspark.spark.ranking.candidates import Candidates, build_candidates
from kgspark.spark.ranking.settings import CandidateSettings

USERS, MOVIES = [4, 7, 9], [1, 2, 3, 5, 8]
LAYOUT = EntityLayout.from_counts([("user", 3), ("movie", 5), ("genre", 1)])
RATINGS = [(4, 1), (4, 2), (4, 3), (7, 1), (7, 2), (9, 1)]
YEARS = {1: 1950, 2: 1994, 3: 2001, 5: None}  # the movie table does not have 8


@pytest.fixture(scope="module")
def tables(spark: Any) -> dict[str, Any]:
    def frame(rows: list[tuple[Any, ...]], schema: str) -> Any:
        return spark.createDataFrame(rows, schema).coalesce(1)

    return {
        "ratings": frame(RATINGS, "user_id bigint, movie_id bigint"),
        "movies": frame(
            [(m, y, ["Drama"]) for m, y in YEARS.items()], "movie_id bigint, year int, genres array<string>"
        ),
        "users": frame([(4, "F"), (7, "M"), (9, "M")], "user_id bigint, gender string"),
        "blocked": frame([("2",), ("nonsense",), ("99",), (None,)], "movie_id string"),  # the types of CSV
        "french": frame([("3", "fr"), ("5", "fr")], "movie_id string, country string"),
        "no_ids": frame([("Heat",)], "title string"),
    }


@pytest.fixture(scope="module")
def entities(spark: Any) -> Any:
    ids = [("user", user) for user in USERS] + [("movie", movie) for movie in MOVIES] + [("genre", "Drama")]
    rows = [(place, kind, str(external)) for place, (kind, external) in enumerate(ids)]
    return spark.createDataFrame(rows, "index bigint, kind string, external_id string").coalesce(1)


def built(tables: dict[str, Any], entities: Any, **settings: Any) -> Candidates:
    return build_candidates(CandidateSettings(**settings), tables, entities, LAYOUT, "bigint")


def offered(candidates: Candidates) -> dict[int, list[int]]:
    """Movies by user; also checks that every position is that of its id."""
    segments = [tuple(row) for row in candidates.segments.select("user_id", "position", "segment").collect()]
    movies = [tuple(row) for row in candidates.movies.select("movie_id", "position", "segment").collect()]
    assert all(USERS[position] == user for user, position, _ in segments)
    assert all(MOVIES[position] == movie for movie, position, _ in movies)
    assert sorted(user for user, _, _ in segments) == USERS
    return {user: sorted(movie for movie, _, name in movies if name == mine) for user, _, mine in segments}


@pytest.mark.parametrize(
    ("settings", "movies"),
    [
        ({"min_ratings": 2}, [1, 2]),
        ({"where": "year >= 1990 AND ratings < 2"}, [3]),
        ({"where": "array_contains(genres, 'Drama') AND year IS NULL"}, [5]),
        ({"where": "year < 1960 OR year IS NULL"}, [1, 5, 8]),
        ({"allow": "french"}, [3, 5]),
        ({"deny": "blocked"}, [1, 3, 5, 8]),
        ({"allow": "french", "deny": "blocked", "min_ratings": 1}, [3]),
        ({"where": "movie_id IN (SELECT movie_id FROM french WHERE country = 'fr')"}, [3, 5]),
    ],
)
def test_conditions_and_lists_choose_the_movies_of_everybody(tables, entities, settings, movies) -> None:
    candidates = built(tables, entities, **settings)
    assert offered(candidates) == dict.fromkeys(USERS, movies)
    assert {row["segment"] for row in candidates.segments.collect()} == {"rest"}


def test_a_user_is_in_the_first_segment_that_fits(tables: dict[str, Any], entities: Any) -> None:
    segments = {
        "new": {"users": "ratings <= 1", "movies": "ratings >= 2"},
        "men": {"users": "gender = 'M'", "movies": "movie_id IN (SELECT movie_id FROM french)"},
    }
    candidates = built(tables, entities, deny="blocked", segments=segments)
    assert offered(candidates) == {4: [1, 3, 5, 8], 7: [3, 5], 9: [1]}
    pairs = tables["ratings"]
    assert sorted(tuple(row)[:2] for row in candidates.allowed(pairs).select("user_id", "movie_id").collect()) == [
        (4, 1), (4, 3), (9, 1),
    ]  # fmt: skip


def test_the_names_of_tables_do_not_stay(spark: Any, tables: dict[str, Any], entities: Any) -> None:
    built(tables, entities, min_ratings=1)
    assert not spark.catalog.listTables()


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"where": "yaer > 2000"}, ConfigError, r"candidates\.where: .*yaer.*the table has the columns .*year"),
        (
            {"segments": {"x": {"users": "gender = ", "movies": "true"}}},
            ConfigError,
            r"candidates\.segments\.x\.users: ",
        ),
        (
            {"deny": "no_ids"},
            InputError,
            r"source\.tables\.no_ids: candidates\.deny needs a column movie_id; it has title",
        ),
    ],
)
def test_the_error_names_the_problem(tables: dict[str, Any], entities: Any, settings, error, says: str) -> None:
    with pytest.raises(error, match=says):
        built(tables, entities, **settings)
