"""The table `rules`: numbers and groups of each movie, by SQL over the movies."""

from typing import Any

import pytest

from kgspark.errors import ConfigError
from kgspark.graph.layout import EntityLayout
from kgspark.spark.ranking.candidates import own_tables_of
from kgspark.spark.ranking.rule_settings import RuleSettings
from kgspark.spark.ranking.rules import check_boosts, movie_rules
from kgspark.spark.ranking.settings import CandidateSettings

MOVIES = [1, 2, 3]
LAYOUT = EntityLayout.from_counts([("user", 2), ("movie", 3)])
DAY = 86_400


@pytest.fixture(scope="module")
def tables(spark: Any) -> dict[str, Any]:
    def frame(rows: list[tuple[Any, ...]], schema: str) -> Any:
        return spark.createDataFrame(rows, schema).coalesce(1)

    ratings = [(4, 1, 5.0, 0), (7, 1, 2.0, 3 * DAY), (4, 2, 4.0, 9 * DAY)]
    movies = [(1, 1950, ["Drama", "Drama", None]), (2, None, [])]
    ids = [("user", 4), ("user", 7), *(("movie", movie) for movie in MOVIES)]
    return {
        "ratings": frame(ratings, "user_id bigint, movie_id bigint, rating double, timestamp bigint"),
        "movies": frame(movies, "movie_id bigint, year int, genres array<string>"),
        "sales": frame([("2", "7")], "movie_id string, sold string"),
        "entities": frame(
            [(place, kind, str(external)) for place, (kind, external) in enumerate(ids)],
            "index bigint, kind string, external_id string",
        ),
    }


def _rules(tables: dict[str, Any], **settings: Any) -> Any:
    known = {name: table for name, table in tables.items() if name != "entities"}
    return movie_rules(RuleSettings(**settings), known, tables["entities"], LAYOUT, "bigint", "rating >= 4")


def test_each_movie_has_its_numbers_and_groups(tables: dict[str, Any]) -> None:
    found = _rules(
        tables,
        boosts={
            "old": {"add": "2000 - year"},
            "known": {"multiply": "1 + likes"},
            "age": {"add": "age_days"},
            "sold": {"add": "(SELECT max(int(sold)) FROM sales WHERE sales.movie_id = movie_id) + ratings"},
        },
        at_most={"genre": {"per": "genres", "rows": 1}, "year": {"per": "year", "rows": 2}},
    )
    rows = {row["movie_id"]: tuple(row)[1:] for row in found.collect()}
    # Movie 3 is in no table; what is missing changes nothing and limits nothing.
    assert rows == {
        1: (0, 2, [50, 2, 9, 9], [["Drama"], ["1950"]]),
        2: (1, 1, [0, 2, 0, 8], [[], []]),
        3: (2, 0, [0, 1, 0, 7], [[], []]),
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"boosts": {"a": {"add": "yaer"}}}, r"rules\.boosts\.a\.add: .*yaer.*the table has the columns"),
        ({"boosts": {"a": {"add": "genres"}}}, r"rules\.boosts\.a\.add: expected a number, .*array<string>"),
        ({"at_most": {"a": {"per": "director", "rows": 1}}}, r"rules\.at_most\.a\.per: .*director"),
        ({"boosts": {"a": {"multiply": "likes"}}}, r"multiply: expected a number above 0, found 0\.0 for movie_id 3"),
        ({"boosts": {"a": {"add": "double('nan')"}}}, r"a\.add: expected a finite number, found nan for movie_id 1"),
    ],
)
def test_the_error_names_the_key(tables: dict[str, Any], settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_boosts(RuleSettings(**settings), _rules(tables, **settings))


def test_tables_in_rules_are_read_as_the_users_own(spark: Any, tables: dict[str, Any]) -> None:
    rules = RuleSettings(boosts={"a": {"add": "(SELECT max(sold) FROM sales)"}})
    assert own_tables_of(spark, CandidateSettings(), tables, rules) == {"sales": "rules.boosts.a.add"}
