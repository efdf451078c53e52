"""The split, co-watched movies and triples in memory are those that Spark makes."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kgspark.errors import ConfigError, InputError
from kgspark.graph.triples import SPLITS
from kgspark.in_memory.co_watch import co_watched
from kgspark.in_memory.expressions import evaluate
from kgspark.in_memory.graphs import build_graph
from kgspark.in_memory.settings import fit_settings
from kgspark.in_memory.splits import split_ratings
from kgspark.in_memory.tables import clean_tables
from kgspark.spark.graph.settings import CoWatchSettings, SplitSettings, TriplesSettings

PROTOCOLS = ("random", "leave-one-out", "per-user", "time", "cold-users", "cold-movies", "none")


def ratings(ids: str) -> pa.Table:
    """Ratings of 40 users, sorted by user and movie, many of them in the same second."""
    draw = random.Random(7)
    rows = []
    for user in range(40):
        for movie in draw.sample(range(60), draw.randint(1, 35)):
            seconds = 10**9 + draw.randint(0, 40) * 40_000
            rows.append((user - 3, movie * 7, draw.randint(1, 10) / 2, seconds))
    keys = [(str(u), str(m)) if ids == "string" else (u, m) for u, m, _, _ in rows]
    table = pa.table(
        {
            "user_id": [user for user, _ in keys],
            "movie_id": [movie for _, movie in keys],
            "rating": [rating for _, _, rating, _ in rows],
            "timestamp": pa.array([seconds for *_, seconds in rows], pa.int64()),
        }
    )
    return table.sort_by([("user_id", "ascending"), ("movie_id", "ascending")])


@pytest.mark.parametrize("ids", ["integer", "string"])
def test_every_protocol_splits_as_spark_does(spark: Any, ids: str) -> None:
    from pyspark.sql import functions as F

    from kgspark.spark.graph.splits import with_split

    table = ratings(ids)
    frame = spark.createDataFrame(table.to_pandas()).repartition(2).cache()
    is_like = table["rating"].to_numpy() >= 4
    for protocol in PROTOCOLS if ids == "integer" else PROTOCOLS[:3]:
        settings = SplitSettings(protocol=protocol, test=0.2, valid=0.1, seed=11)
        expected = with_split(frame, settings, "rating >= 4").select("user_id", "movie_id", F.col("split"))
        of_pair = {(row[0], row[1]): row[2] for row in expected.collect()}
        found = split_ratings(table, settings, is_like)
        pairs = zip(table["user_id"].to_pylist(), table["movie_id"].to_pylist(), strict=True)
        assert [SPLITS[code] for code in found] == [of_pair[pair] for pair in pairs], protocol
        assert protocol == "none" or len(np.unique(found)) == 3
    frame.unpersist()


@pytest.mark.parametrize("ids", ["integer", "string"])
def test_co_watched_movies_are_sparks(spark: Any, ids: str) -> None:
    from kgspark.spark.graph.co_watch import co_watched as by_spark

    table = ratings(ids)
    settings = CoWatchSettings(window=3, min_users=2, top=4)
    expected = by_spark(spark.createDataFrame(table.to_pandas()), settings, len(table)).collect()
    found = co_watched(table, TriplesSettings(co_watch=settings)).to_pylist()
    assert len(found) > 100
    assert sorted(tuple(row.values()) for row in found) == sorted(
        (row["movie_id"], row["other_movie_id"], row["users"]) for row in expected
    )


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("rating >= 4.0", [False, True]),
        ("rating / 4", [0.25, 1.25]),
        ("0.1", [0.1, 0.1]),
        ("NOT (rating = 1 OR age_days > 3) AND rating <> 2", [False, True]),
        ("POWER(0.5, age_days / 2) * log2(1 + rating) - -1", [2.0, 1 + np.log2(6)]),
    ],
)
def test_sql_of_numbers(expression: str, value: list[float]) -> None:
    columns = {"rating": np.array([1.0, 5.0]), "age_days": np.array([0.0, 0.0])}
    np.testing.assert_allclose(evaluate("k", expression, columns, 2).astype(float), value)


@pytest.mark.parametrize("expression", ["title LIKE 'A%'", "raiting >= 4", "rating >", "CASE WHEN rating THEN 1 END"])
def test_other_sql_names_its_key(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"^relations\.liked\.where: .*expected arithmetic and comparisons of rating"):
        evaluate("relations.liked.where", expression, {"rating": np.ones(1)}, 1)


def graph_of(frames: Mapping[str, Any], **settings: Any) -> Any:
    found = fit_settings((), settings)
    return build_graph(clean_tables(found.source, **frames), found)


def triples(numbered: Any, relation: str) -> set[tuple[str, str]]:
    graph = numbered.graph
    of = graph.relation(relation)
    pairs = graph.pairs(of, SPLITS)
    heads, tails = (
        numbered.ids[kind].take(pa.array(ends - graph.layout.range(kind)[0])).to_pylist()
        for kind, ends in ((of.head_kind, pairs.heads), (of.tail_kind, pairs.tails))
    )
    return set(zip(map(str, heads), map(str, tails), strict=True))


FRAMES: dict[str, Any] = {
    "interactions": pa.table(
        {"user_id": [10, 9, 9, 9], "movie_id": [3, 3, 20, 20], "rating": [5, 4, 1, 4.5], "timestamp": [4, 3, 1, 2]}
    ),
    "items": pa.table(
        {
            "movie_id": [20, 3, 100],
            "title": [" Heat (1995) ", "Up (2009–)", None],
            "genres": ["Crime|Drama", " Drama |(no genres listed)", ""],
        }
    ),
    "users": pa.table({"user_id": [9, 10, 11], "gender": ["F", None, "M"]}),
    "tags": pa.table({"user_id": [9, 9], "movie_id": [3, 100], "tag": [" Sky ", "  "]}),
}


def test_facts_of_every_frame() -> None:
    numbered = graph_of(FRAMES, split={"protocol": "none"})
    assert numbered.ids["user"].to_pylist() == [9, 10, 11]
    assert numbered.ids["movie"].to_pylist() == [3, 20, 100]
    assert triples(numbered, "liked") == {("10", "3"), ("9", "3"), ("9", "20")}
    assert triples(numbered, "watched") == set()
    assert triples(numbered, "has_genre") == {("20", "Crime"), ("20", "Drama"), ("3", "Drama")}
    assert triples(numbered, "released_in") == {("20", "1995"), ("3", "2009")}
    assert triples(numbered, "has_gender") == {("9", "F"), ("11", "M")}
    assert triples(numbered, "tagged") == {("3", "sky")}


def test_texts_are_numbered_by_their_bytes_and_without_items_nothing_of_them_is_missing() -> None:
    frames = {"interactions": pa.table({"user_id": ["b", "B", "ä"], "movie_id": [10, 9, 9], "rating": [5, 5, 5]})}
    numbered = graph_of(frames, source={"columns": {"timestamp": None}})
    assert numbered.ids["user"].to_pylist() == ["B", "b", "ä"]
    assert numbered.ids["movie"].to_pylist() == ["10", "9"]
    assert [relation.name for relation in numbered.graph.relations] == ["liked", "watched"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"interactions": [1, 2]}, "interactions: expected a frame of pandas, Arrow or Polars, found list"),
        ({"interactions": FRAMES["interactions"].drop_columns(["rating"])}, "interactions: no column 'rating'; it has"),
        (
            {"interactions": FRAMES["interactions"].set_column(2, "rating", pa.array([1, None, 2, 3]))},
            "interactions: rating: expected a number in every row",
        ),
        (
            {"interactions": FRAMES["interactions"].set_column(0, "user_id", pa.array([1.5, 2, 3, 4]))},
            "interactions: user_id: expected integers or texts, found double",
        ),
        ({"items": FRAMES["items"].slice(0, 1)}, "items: 1 movies of the interactions are not there, such as 3"),
        (
            {"items": pa.concat_tables([FRAMES["items"], FRAMES["items"].slice(0, 1)])},
            "items: movie_id 20 is in several rows; expected one",
        ),
        ({"tags": FRAMES["users"]}, "tags: no column of ids"),
    ],
)
def test_a_frame_that_does_not_fit_is_one_line(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        graph_of(FRAMES | changed)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"candidates": {"min_ratings": 2}}, "KGRecommender: candidates: only a night reads it; a fit in memory reads"),
        ({"source": {"path": "x"}}, "KGRecommender: source.path: expected one of columns"),
        ({"train": {"dmi": 3}}, "KGRecommender: train.dmi: unknown key; did you mean 'dim'?"),
        ({"train": {"epochs": 0, "warm_start": "latest"}}, "KGRecommender: train.epochs: expected 1 or more"),
        ({"relations": {"made_by": {"table": "own", "head": "movie", "tail": "studio"}}}, "own needs a night"),
        ({"relations": {"liked": {"weight": "rating - 5"}}}, r"relations.liked.weight: expected numbers ≥ 0"),
        ({"relations": {"has_genre": {"tail": {"column": "lower(genres)"}}}}, "'lower.genres.' is no column"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        graph_of(FRAMES, **settings)
