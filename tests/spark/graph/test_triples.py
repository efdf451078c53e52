from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import AuditError, ConfigError
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.spark.frames import write_table
from kgspark.spark.graph.co_watch import co_watched
from kgspark.spark.graph.entities import members
from kgspark.spark.graph.relations import usable_relations
from kgspark.spark.graph.settings import CoWatchSettings, RelationSettings, kinds_in_order
from kgspark.spark.graph.triples import build_triples, count_triples, sharded
from kgspark.stages import clean_ratings, index_entities, write_triples
from nights import a_night
from worlds.tastes import write_world

LAYOUT = EntityLayout.from_counts([("user", 3), ("movie", 3), ("genre", 2), ("actor", 2)])
IDS = {"user": ["1", "2", "3"], "movie": ["7", "8", "9"], "genre": ["Comedy", "Drama"], "actor": ["Ann", "Bob"]}

KINDS = list(IDS)


def _relation(table: str, head: Any, tail: Any, **more: Any) -> RelationSettings:
    return RelationSettings(table=table, head=head, tail=tail, **more)


ACTOR = {"kind": "actor", "column": "name"}
FILM = {"kind": "movie", "column": "film"}
OTHER = {"kind": "movie", "column": "other_movie_id"}
RELATIONS = {
    "liked": _relation("ratings", "user", "movie", where="rating >= 4.0", weight="rating / 5"),
    "disliked": _relation("ratings", "user", "movie", where="rating < 3", weight=0.5),
    "has_genre": _relation("movies", "movie", {"kind": "genre", "column": "genres"}, explode="genres", weight=0.1),
    "acted_in": _relation("facts", ACTOR, FILM, where="role = 'actor'", weight="cast(share AS double)"),
    "liked_by_friend": _relation("facts", {"kind": "user", "column": "'2'"}, FILM, where="name = 'Bob'"),
}


@pytest.fixture(scope="module")
def tables(spark: Any) -> dict[str, Any]:
    content = {
        "ratings": {
            "user_id": [1, 1, 2, 2, 3],
            "movie_id": [7, 8, 7, 9, 8],
            "rating": [5.0, 4.0, 2.5, 4.5, 3.0],
            "timestamp": [1, 2, 3, 4, 5],
            "split": ["train", "test", "train", "valid", "train"],
        },
        "movies": {
            "movie_id": [7, 8, 9],
            "title": ["A", "B", "C"],
            "genres": [["Drama", "Comedy"], ["Drama", "Drama"], []],
        },
        # One of the user's own tables, as read from CSV: every column is a string. Its column `split` is not ours.
        "facts": {
            "film": ["7", "7", "8", "9", "777", "x", None, ""],
            "name": ["Ann", "Ann", "Bob", "Bob", "Ann", "Ann", "Ann", "Ann"],
            "role": ["actor"] * 3 + ["director"] + ["actor"] * 4,
            "share": ["0.25", "0.75", "0.5", "1", "1", "1", "1", "1"],
            "split": ["a", "b", "c", "d", "e", "f", "g", "h"],
        },
    }
    return {name: spark.createDataFrame(pa.table(columns)).coalesce(1) for name, columns in content.items()}


@pytest.fixture(scope="module")
def entities(spark: Any) -> Any:
    listed = [(kind, text) for kind, texts in IDS.items() for text in texts]
    columns = {"index": range(len(listed)), "kind": [k for k, _ in listed], "external_id": [text for _, text in listed]}
    return spark.createDataFrame(pa.table({name: list(values) for name, values in columns.items()})).coalesce(1)


def _listed(rows: list[Any], names: list[str]) -> list[tuple[Any, ...]]:
    """Triples with external ids and the relation's name."""
    texts = [text for of_kind in IDS.values() for text in of_kind]
    return sorted(
        (names[row["relation"]], texts[row["head"]], texts[row["tail"]], row["split"], round(row["weight"], 6))
        for row in rows
    )


def test_the_triples_of_a_known_world(spark: Any, tables: dict[str, Any], entities: Any) -> None:
    triples = build_triples(RELATIONS, tables, entities, "bigint")
    assert triples.dtypes == [
        ("head", "bigint"), ("relation", "int"), ("tail", "bigint"), ("split", "string"), ("weight", "float"),
        ("timestamp", "bigint"),
    ]  # fmt: skip
    rows = triples.collect()
    of_ratings = {(row["head"], row["tail"]): row["timestamp"] for row in rows if row["timestamp"] is not None}
    assert of_ratings == {(0, 3): 1, (0, 4): 2, (1, 3): 3, (1, 5): 4}  # triples of other tables have no time
    assert _listed(rows, list(RELATIONS)) == [
        ("acted_in", "Ann", "7", "train", 0.75),  # twice in the table: once, with the larger weight
        ("acted_in", "Bob", "8", "train", 0.5),  # films 777 and x are not movies of this night
        ("disliked", "2", "7", "train", 0.5),
        ("has_genre", "7", "Comedy", "train", 0.1),
        ("has_genre", "7", "Drama", "train", 0.1),
        ("has_genre", "8", "Drama", "train", 0.1),
        ("liked", "1", "7", "train", 1.0),
        ("liked", "1", "8", "test", 0.8),
        ("liked", "2", "9", "valid", 0.9),
        ("liked_by_friend", "2", "8", "train", 1.0),
        ("liked_by_friend", "2", "9", "train", 1.0),
    ]

    relations = [Relation(i, name, r.head.kind, r.tail.kind) for i, (name, r) in enumerate(RELATIONS.items())]
    frame = spark.createDataFrame(pa.Table.from_pylist([row.asDict() for row in rows])).coalesce(1)
    counts = count_triples(frame, relations, LAYOUT)
    assert {(row["relation"], row["split"]): row["rows"] for row in counts} == {
        ("liked", "train"): 1, ("liked", "test"): 1, ("liked", "valid"): 1, ("disliked", "train"): 1,
        ("has_genre", "train"): 3, ("acted_in", "train"): 2, ("liked_by_friend", "train"): 2,
    }  # fmt: skip
    genre = next(row for row in counts if row["relation"] == "has_genre")
    assert [genre[key] for key in ("min_head", "max_head", "min_tail", "max_tail")] == [3, 4, 6, 7]

    swapped = [*relations[:2], Relation(2, "has_genre", "movie", "actor"), *relations[3:]]
    with pytest.raises(AuditError, match=r"triples of has_genre: a tail lies outside the range \[8, 10\) of actor"):
        count_triples(frame, swapped, LAYOUT)
    short = EntityLayout.from_counts([("user", 1), ("movie", 5), ("genre", 2), ("actor", 2)])
    with pytest.raises(AuditError, match=r"a head lies outside the range \[0, 1\) of user"):
        count_triples(frame, relations, short)


def test_a_relation_from_ratings_to_another_kind_has_each_triple_once(
    spark: Any, tables: dict[str, Any], entities: Any
) -> None:
    """Two ratings of one user give the same (user, liked_genre, Drama)."""
    relations = {"likes": _relation("ratings", "user", {"kind": "genre", "column": "'Drama'"}, where="user_id = 1")}
    rows = build_triples(relations, {"ratings": tables["ratings"].drop("split")}, entities, "bigint").collect()
    assert _listed(rows, ["likes"]) == [("likes", "1", "Drama", "train", 1.0)]


WRONG = [
    ({"where": "ratng >= 4"}, "relations.r.where: ", "ratng"),
    ({"where": "rating >="}, "relations.r.where: ", "PARSE_SYNTAX_ERROR"),
    ({"where": "rating"}, "relations.r.where: ", "BOOLEAN"),
    ({"head": {"kind": "user", "column": "usr"}}, "relations.r.head: ", "usr"),
    ({"tail": {"kind": "movie", "column": "movie_id +* 2)"}}, "relations.r.tail: ", "PARSE_SYNTAX_ERROR"),
    ({"weight": "1 +"}, "relations.r.weight: ", "PARSE_SYNTAX_ERROR"),
    ({"weight": "no_such_function(rating)"}, "relations.r.weight: ", "no_such_function"),
    ({"explode": "genres"}, "relations.r.explode: ", "genres"),
    ({"explode": "rating"}, "relations.r.explode: ", "ARRAY"),
    ({"table": "facs"}, "relations.r.table: ", "no table 'facs' in this data; there are ratings, movies, facts, "),
]


@pytest.mark.parametrize(("change", "key", "reason"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_a_wrong_relation_is_named_before_any_job_runs(
    tables: dict[str, Any], change: dict[str, Any], key: str, reason: str
) -> None:
    relation = RelationSettings(**({"table": "ratings", "head": "user", "tail": "movie"} | change))
    with pytest.raises(ConfigError) as caught:
        members(tables, usable_relations({"liked": RELATIONS["liked"], "r": relation}, tables), KINDS)
    message = str(caught.value)
    assert message.startswith(key)
    assert reason in message
    assert "\n" not in message
    if "table" not in change:
        assert "; the table has the columns user_id, movie_id, rating, timestamp" in message


def test_optional_relations_are_left_out_and_kinds_follow_the_relations(tables: dict[str, Any]) -> None:
    relations = RELATIONS | {"tagged": _relation("tags", "movie", "tag", optional=True)}
    usable = usable_relations(relations, tables)
    assert list(usable) == list(RELATIONS)
    assert kinds_in_order(usable) == ["user", "movie", "genre", "actor"]
    assert kinds_in_order(dict(reversed(usable.items()))) == ["user", "movie", "genre", "actor"]


def _random_triples(rows: int = 3_000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"head": rng.integers(0, 300, rows), "relation": rng.integers(0, 3, rows).astype("int32")})
    table["tail"] = rng.integers(300, 600, rows)
    table["split"] = rng.choice(["train", "valid", "test"], rows)
    table["weight"] = rng.random(rows).astype("float32")
    return table.drop_duplicates(["head", "relation", "tail", "split"])


@pytest.mark.parametrize("entities", [600, 1 << 40], ids=["sorted by one long", "sorted by columns"])
def test_shards_are_the_same_bytes_for_any_partitions_and_order_of_rows(
    spark: Any, tmp_path: Path, entities: int
) -> None:
    triples = _random_triples()
    described = []
    for partitions in (1, 2, 7):
        frame = spark.createDataFrame(triples.sample(frac=1, random_state=partitions)).repartition(partitions)
        described.append(write_table(sharded(frame, 4, entities), tmp_path / str(partitions)))
    assert described[0] == described[1] == described[2]
    assert [file.name for file in described[0].files] == [f"part-{i:05d}.parquet" for i in range(4)]
    shards = [pq.read_table(tmp_path / "7" / file.name).to_pandas() for file in described[0].files]
    key = ["relation", "split", "head", "tail"]
    for shard in shards:
        pd.testing.assert_frame_equal(shard, shard.sort_values(key, ignore_index=True))
    heads = [set(shard["head"]) for shard in shards]
    assert not any(one & other for one, other in combinations(heads, 2))
    everything = pd.concat(shards).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(everything, triples.sort_values(key, ignore_index=True)[list(everything)])


def test_a_large_shard_is_cut_into_files_in_order(spark: Any, tmp_path: Path) -> None:
    triples = _random_triples(500)
    files = write_table(sharded(spark.createDataFrame(triples), 1, 600), tmp_path / "t", rows_per_file=120).files
    assert [file.rows for file in files] == [120] * (len(triples) // 120) + [len(triples) % 120]
    together = pd.concat([pq.read_table(tmp_path / "t" / file.name).to_pandas() for file in files], ignore_index=True)
    in_order = together.sort_values(["relation", "split", "head", "tail"], ignore_index=True)
    pd.testing.assert_frame_equal(together, in_order)


Like = tuple[Any, Any, int]
Edges = dict[tuple[Any, Any], int]


def _neighbours(likes: list[Like], settings: CoWatchSettings) -> Edges:
    """`co_watched` by brute force."""
    of_user = defaultdict(list)
    for user, movie, timestamp in likes:
        of_user[user].append((timestamp, movie))
    shared: Counter[frozenset[Any]] = Counter()
    for own in of_user.values():
        in_time = [movie for _, movie in sorted(own)]
        for (at, one), (place, other) in combinations(enumerate(in_time), 2):
            shared[frozenset((one, other))] += place - at <= settings.window
    partners = defaultdict(list)
    for pair, users in shared.items():
        if users >= settings.min_users:
            for movie in pair:
                partners[movie].append((-users, *(pair - {movie})))
    return {
        (movie, other): -negative
        for movie, others in partners.items()
        for negative, other in sorted(others)[: settings.top]
    }


def _co_watched(spark: Any, likes: list[Like], settings: CoWatchSettings, partitions: int = 2) -> Edges:
    columns = dict(zip(("user_id", "movie_id", "timestamp"), map(list, zip(*likes, strict=True)), strict=True))
    most = partitions * 4_000_000 // settings.window  # pairs are counted in as many parts
    rows = co_watched(spark.createDataFrame(pa.table(columns)).repartition(partitions), settings, most).collect()
    found = {(row["movie_id"], row["other_movie_id"]): row["users"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize("ids", [int, str])
def test_co_watched_equals_brute_force(spark: Any, ids: type) -> None:
    rng = np.random.default_rng(1)
    pairs = {(int(rng.integers(0, 25)), int(rng.zipf(1.3) % 30)) for _ in range(500)}
    likes = [(ids(user), ids(movie), int(rng.integers(0, 4))) for user, movie in sorted(pairs)]
    settings = CoWatchSettings(window=2, min_users=2, top=3)
    expected = _neighbours(likes, settings)
    assert len(expected) > 30
    assert _co_watched(spark, likes, settings) == expected
    assert _co_watched(spark, likes[::-1], settings, 7) == expected


def test_a_heavy_user_makes_no_more_pairs_than_the_window_allows(spark: Any) -> None:
    likes = [(1, movie, -movie) for movie in range(3_000)]
    found = _co_watched(spark, likes, CoWatchSettings(window=4, min_users=1, top=100))
    forward = {(one, one + apart) for one in range(3_000) for apart in range(1, 5) if one + apart < 3_000}
    assert set(found) == forward | {(other, one) for one, other in forward}


def test_a_held_out_like_makes_no_edge_between_movies_and_changes_no_age(spark: Any, tmp_path: Path) -> None:
    world = write_world(tmp_path / "source", groups=2, users=6, movies=6)
    night = a_night(
        tmp_path / "lake",
        spark,
        source={"path": str(tmp_path / "source")},
        relations={
            "similar": {"table": "co_watched", "head": "movie", "tail": OTHER, "weight": "users"},
            "recent": {"table": "ratings", "head": "user", "tail": "movie", "weight": "age_days"},
        },
        split={"protocol": "leave-one-out"},
        triples={"co_watch": {"min_users": 1, "window": 3, "top": 100}, "rows_per_shard": 50},
    )
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    manifest = night.run.manifest("triples")
    names = [relation["name"] for relation in manifest.details["relations"]]
    table = pq.read_table(night.run.table("triples")).to_pandas()
    table["relation"] = table["relation"].map(dict(enumerate(names)))
    likes = table[table["relation"] == "liked"]
    assert likes["split"].value_counts().to_dict() == {"train": 36, "valid": 12, "test": 12}
    assert all(file.rows <= 50 for file in manifest.files)

    entities = pq.read_table(night.run.table("entities")).to_pandas().set_index("index")["external_id"]
    times = pd.read_csv(tmp_path / "source" / "ratings.csv").set_index(["userId", "movieId"])["timestamp"]
    training = [
        (user, movie, int(times[int(entities[user]), int(entities[movie])]))
        for user, movie in likes.loc[likes["split"] == "train", ["head", "tail"]].itertuples(index=False)
    ]
    expected = _neighbours(training, night.settings.triples.co_watch)
    recent = table[table["relation"] == "recent"]
    timestamps = np.array([times[int(entities[row.head]), int(entities[row.tail])] for row in recent.itertuples()])
    ages = np.maximum(0, timestamps[recent["split"] == "train"].max() - timestamps) / 86_400
    assert recent["weight"].to_numpy() == pytest.approx(ages)
    assert recent["weight"].max() > 0

    similar = table[table["relation"] == "similar"]
    found = {(row.head, row.tail): row.weight for row in similar.itertuples()}
    assert found == expected
    assert set(similar["split"]) == {"train"}
    groups = [{entities[entities == str(movie)].index[-1] for movie in movies} for _, movies in world.groups]
    assert all(any({head, tail} <= group for group in groups) for head, tail in found)
