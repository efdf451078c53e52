import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kgspark.graph.layout import EntityLayout
from kgspark.night.settings import NightSettings
from kgspark.spark.frames import read_table, write_table
from kgspark.spark.graph.entities import count_kinds, index_of, members, number_sorted, sorted_members
from kgspark.spark.graph.relations import usable_relations
from kgspark.spark.graph.settings import kinds_in_order

ACTOR = {"kind": "actor", "column": "name"}
RELATIONS = NightSettings(
    source={"path": "x"},
    relations={
        "acted_in": {"table": "facts", "head": {"kind": "movie", "column": "film"}, "tail": ACTOR},
        "knows": {"table": "facts", "head": ACTOR, "tail": {"kind": "actor", "column": "friend"}},
        "similar": {"table": "co_watched", "head": "movie", "tail": {"kind": "movie", "column": "other_movie_id"}},
    },
).relations

KINDS = ["user", "movie", "genre", "year", "gender", "age", "occupation", "tag", "actor"]


def _tables(spark: Any, partitions: int, seed: int) -> dict[str, Any]:
    """A small night's tables, with the given order of rows and number of partitions."""
    content: dict[str, dict[str, list[Any]]] = {
        "ratings": {
            # User 7 has no like, and movie 20 has none.
            "user_id": [2, 10, 100, 2, 9_000_000_000, 7],
            "movie_id": [30, 4, 4, 200, 30, 20],
            "rating": [5.0, 4.0, 4.5, 5.0, 5.0, 1.0],
            "timestamp": [1, 2, 3, 4, 5, 6],
        },
        "movies": {
            # Movies 3 and 1000 have no rating; movie 30 is rated, but not in this table.
            "movie_id": [4, 20, 200, 3, 1000],
            "title": ["A", "B", "C", "D", "E"],
            "year": [1995, 2001, None, 1995, 2001],
            "genres": [["Drama", "Comedy"], [], ["Drama"], ["Sci-Fi"], None],
        },
        "users": {
            # User 5 has no rating.
            "user_id": [2, 5, 10],
            "gender": ["F", "M", "F"],
            "age": ["10", "9", ""],
            "occupation": ["x", None, "x"],
            "zip_code": ["1", "2", "3"],
        },
        "tags": {"user_id": [2, 999], "movie_id": [4, 888], "tag": ["noir", "noir"], "timestamp": [1, 1]},
        "facts": {"film": ["4", "777", "4"], "name": ["Zoë", "abe", "Abe"], "friend": ["abe", "Żak", None]},
    }
    types = {"year": pa.int32()}
    tables = {}
    for name, columns in content.items():
        order = list(range(len(next(iter(columns.values())))))
        random.Random(seed).shuffle(order)
        arrays = {key: pa.array([values[i] for i in order], types.get(key)) for key, values in columns.items()}
        tables[name] = spark.createDataFrame(pa.table(arrays)).repartition(partitions)
    return tables


def _number(spark: Any, tables: dict[str, Any], relations: Any, integers: bool, folder: Path) -> tuple[Any, int]:
    usable = usable_relations(relations, tables)
    kinds = kinds_in_order(usable)
    integer_kinds = [kinds.index("user"), kinds.index("movie")] if integers else []
    files = write_table(sorted_members(members(tables, usable, kinds), integer_kinds), folder).files
    return number_sorted(read_table(spark, folder), files, kinds), len(files)


def _listed(entities: Any) -> list[tuple[int, str, str]]:
    return sorted((row["index"], row["kind"], row["external_id"]) for row in entities.collect())


@pytest.fixture
def many_files(spark: Any) -> Any:
    """Keeps Spark from merging small partitions, so that sorted rows come in several files."""
    spark.conf.set("spark.sql.adaptive.enabled", False)
    spark.conf.set("spark.sql.shuffle.partitions", 5)
    yield
    spark.conf.unset("spark.sql.adaptive.enabled")
    spark.conf.set("spark.sql.shuffle.partitions", 3)


EXPECTED = [
    *[("user", text) for text in ("2", "5", "7", "10", "100", "9000000000")],
    *[("movie", text) for text in ("3", "4", "20", "30", "200", "1000")],
    *[("genre", text) for text in ("Comedy", "Drama", "Sci-Fi")],
    *[("year", text) for text in ("1995", "2001")],
    *[("gender", text) for text in ("F", "M")],
    *[("age", text) for text in ("10", "9")],
    ("occupation", "x"),
    ("tag", "noir"),
    *[("actor", text) for text in ("Abe", "Zoë", "abe", "Żak")],
]


def test_every_entity_has_its_index_for_any_partitions_and_any_order_of_rows(
    spark: Any, tmp_path: Path, many_files: None
) -> None:
    expected = [(index, *entity) for index, entity in enumerate(EXPECTED)]
    for partitions, seed in ((2, 1), (7, 2)):
        tables = _tables(spark, partitions, seed)
        entities, files = _number(spark, tables, RELATIONS, True, tmp_path / f"sorted-{partitions}")
        assert files > 2
        assert _listed(entities) == expected
    layout = EntityLayout.from_counts(count_kinds(entities, KINDS))
    assert layout.to_json() == {
        "user": [0, 6], "movie": [6, 12], "genre": [12, 15], "year": [15, 17], "gender": [17, 19], "age": [19, 21],
        "occupation": [21, 22], "tag": [22, 23], "actor": [23, 27],
    }  # fmt: skip
    assert entities.dtypes == [("index", "bigint"), ("kind", "string"), ("external_id", "string")]


def test_one_partition_in_one_file_is_numbered_as_several_are(spark: Any, tmp_path: Path) -> None:
    entities, files = _number(spark, _tables(spark, 1, 0), RELATIONS, True, tmp_path / "sorted")
    assert files == 1
    assert _listed(entities) == [(index, *entity) for index, entity in enumerate(EXPECTED)]


def test_string_ids_are_sorted_by_their_bytes(spark: Any, tmp_path: Path, many_files: None) -> None:
    # UTF-16 would put U+1F600 before U+FFEE; a collation would mix cases; numbers in text are text.
    users = ["10", "9", "-1", "01", "b", "B", "a b", "é", "z", "\U0001f600", "\uffee", "ﬁ", " x"]
    ratings = {"user_id": [*users, "", None, "9"], "movie_id": ["m"] * (len(users) + 3)}
    ratings |= {"rating": [5.0] * len(ratings["user_id"]), "timestamp": [1] * len(ratings["user_id"])}
    tables = {"ratings": spark.createDataFrame(pa.table(ratings)).repartition(4)}
    liked = {"liked": RELATIONS["liked"]}
    entities, _ = _number(spark, tables, liked, False, tmp_path / "sorted")
    expected = [("user", text) for text in sorted(users, key=lambda text: text.encode())] + [("movie", "m")]
    assert _listed(entities) == [(index, *entity) for index, entity in enumerate(expected)]
    assert count_kinds(entities, ["user", "movie", "genre"]) == [("user", 13), ("movie", 1), ("genre", 0)]


def test_index_of_gives_ids_their_type_back(spark: Any) -> None:
    rows = pa.table({"index": [0, 1, 2], "kind": ["user", "movie", "genre"], "external_id": ["12", "7", "Drama"]})
    entities = spark.createDataFrame(rows)
    users = index_of(entities, "user", "bigint", "user_id", "i")
    assert users.dtypes == [("user_id", "bigint"), ("i", "bigint")]
    # In a join Spark may move conditions: the genre must not be cast to a number, which would stop the job.
    wanted = spark.createDataFrame(pa.table({"user_id": [12, 13]}))
    assert [tuple(row) for row in wanted.join(users, on="user_id", how="inner").collect()] == [(12, 0)]
