"""The candidates of each user, from conditions, lists and segments."""

from dataclasses import astuple
from typing import Any

import pytest

from kgspark.errors import ConfigError, InputError
from kgspark.graph.layout import EntityLayout
from kgspark.spark.ranking.candidates import Candidates, build_candidates, listed_ids, own_tables_of
from kgspark.spark.ranking.settings import CandidateSettings
from kgspark.spark.unknown_ids import count_unknown

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
        "pins": frame([("5", "2"), ("8", "1.5"), ("2", "1")], "movie_id string, place string"),
        "no_ids": frame([("Heat",)], "title string"),
        "floats": frame([(2.0, "fr"), (3.0, "fr"), (None, "fr")], "movie_id double, country string"),
        "women": frame([("4.0 ",), ("x",)], "user_id string"),
        "nobody": frame([], "user_id string, movie_id string"),
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
        ({"min_likes": 2}, [1, 2]),
        ({"min_likes": 3}, [1]),
        ({"where": "year >= 1990 AND ratings < 2"}, [3]),
        ({"where": "array_contains(genres, 'Drama') AND year IS NULL"}, [5]),
        ({"where": "year < 1960 OR year IS NULL"}, [1, 5, 8]),
        ({"allow": "french"}, [3, 5]),
        ({"deny": "blocked"}, [1, 3, 5, 8]),
        ({"allow": "french", "deny": "blocked", "min_ratings": 1}, [3]),
        ({"where": "movie_id IN (SELECT movie_id FROM french WHERE country = 'fr')"}, [3, 5]),
        ({"deny": "floats"}, [1, 5, 8]),  # as pandas writes ids beside a missing one
        ({"allow": "floats"}, [2, 3]),
        ({"where": "movie_id IN (SELECT movie_id FROM floats)"}, [2, 3]),
        # A row whose id is none is left out: a null in the list would make NOT IN false for every movie.
        ({"where": "movie_id NOT IN (SELECT movie_id FROM blocked)"}, [1, 3, 5, 8]),
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


def test_only_likes_count_for_min_likes(tables: dict[str, Any], entities: Any) -> None:
    asked = CandidateSettings(min_likes=1)
    found = build_candidates(asked, tables, entities, LAYOUT, "bigint", liked="user_id = 4 AND movie_id > 1")
    assert offered(found) == {user: [2, 3] for user in USERS}


def test_pinned_movies_of_a_segment_come_before_those_of_everybody(tables: dict[str, Any], entities: Any) -> None:
    segments = {"men": {"users": "gender = 'M'", "deny": "blocked", "pinned": "pins"}}
    found = built(tables, entities, pinned="french", segments=segments)
    assert offered(found) == {4: MOVIES, 7: [1, 3, 5, 8], 9: [1, 3, 5, 8]}
    places = found.movies.where("place IS NOT NULL").select("segment", "place", "movie_id").collect()
    # Movie 2 is pinned and blocked; 5 is in both lists.
    assert sorted(map(tuple, places)) == [("men", 1, 8), ("men", 2, 5), ("men", 3, 3), ("rest", 1, 3), ("rest", 2, 5)]


def test_ids_of_a_segments_list_are_read_like_those_of_the_ratings(tables: dict[str, Any], entities: Any) -> None:
    segments = {"w": {"users": "user_id IN (SELECT user_id FROM women)", "movies": "movie_id = 1"}}
    assert offered(built(tables, entities, segments=segments)) == {4: [1], 7: MOVIES, 9: MOVIES}


@pytest.mark.parametrize("id_type", ["bigint", "string"])
def test_ids_of_lists_that_name_nothing_are_counted_once_per_table(
    spark: Any, tables: dict[str, Any], entities: Any, id_type: str
) -> None:
    settings = CandidateSettings(
        allow="french",
        deny="blocked",
        where="movie_id NOT IN (SELECT movie_id FROM blocked WHERE movie_id IN (SELECT movie_id FROM movies))",
        segments={
            "w": {"users": "user_id IN (SELECT user_id FROM Women)", "movies": "true"},
            "n": {"users": "user_id IN (SELECT user_id FROM nobody)", "movies": "true"},
        },
    )
    used = own_tables_of(spark, settings, tables)
    assert used == {
        "blocked": "candidates.deny",
        "french": "candidates.allow",
        "women": "candidates.segments.w.users",
        "nobody": "candidates.segments.n.users",
    }
    unknown = count_unknown(listed_ids(used, tables), entities, id_type, ())
    women = ("candidates.segments.w.users", "women", "user", 2)
    # Text ids are compared as they are written; only as integers 4.0 is 4.
    assert list(map(astuple, unknown)) == [
        ("candidates.deny", "blocked", "movie", 4, 3, "99"),
        (*women, 1, "x") if id_type == "bigint" else (*women, 2, "4.0 "),
        ("candidates.segments.n.users", "nobody", "user", 0, 0, None),
        ("candidates.segments.n.users", "nobody", "movie", 0, 0, None),
    ]
    assert str(unknown[2]) == "candidates.segments.n.users: no row of nobody"
    unknown[2].check(1)
    assert str(unknown[0]) == "candidates.deny: 3 of 4 rows of blocked name no movie, such as '99'"
    unknown[0].check(0.8)
    unknown[0].check(None)
    with pytest.raises(
        InputError, match=r"such as '99'; .* or set source\.tables\.blocked\.stop_at_unknown_share \(now 0\.75\)"
    ):
        unknown[0].check(0.75)


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
