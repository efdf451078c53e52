"""The stream of queries that Spark makes, and its division into tasks and files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import to_arrow_schema

from kgspark.files import DataFile
from kgspark.graph.layout import EntityLayout
from kgspark.ranking_schemas import FILE_DESCRIPTION, query_schema
from kgspark.spark.ranking.executors import Direction, queries_per_file, query_stream, write_on_executors

USERS, MOVIES = ["ann", "bob", "eve"], ["m1", "m2", "m3", "m4"]
LAYOUT = EntityLayout.from_counts([("user", 3), ("movie", 4), ("genre", 1)])
DIRECTIONS = [Direction("user", "movie"), Direction("movie", "user")]
# Bob's rating of m1 was refused, eve has rated nothing, nobody has rated m4, and zoe is not an entity.
RATINGS = [("ann", "m1", 5.0), ("ann", "m3", 2.0), ("bob", "m1", None), ("bob", "m3", 4.0), ("zoe", "m1", 5.0)]


def streamed(spark: Any, id_type: str, users: list[Any], movies: list[Any], ratings: list[tuple[Any, ...]]) -> Any:
    ids = [("user", user) for user in users] + [("movie", movie) for movie in movies] + [("genre", "Drama")]
    rows = [(place, kind, str(external)) for place, (kind, external) in enumerate(ids)]
    entities = spark.createDataFrame(rows, "index bigint, kind string, external_id string").coalesce(1)
    rated = spark.createDataFrame(ratings, f"user_id {id_type}, movie_id {id_type}, rating double").coalesce(1)
    return query_stream(rated, entities, LAYOUT, DIRECTIONS, id_type, "rating >= 4")


@pytest.fixture(scope="module")
def stream(spark: Any) -> Any:
    return streamed(spark, "string", USERS, MOVIES, RATINGS)


def test_everybody_has_a_header_and_a_row_per_seen_entity_in_both_directions(stream: Any) -> None:
    rows = [tuple(row) for row in stream.collect()]
    headers = [(0, place, user, None, None) for place, user in enumerate(USERS)]
    headers += [(1, place, movie, None, None) for place, movie in enumerate(MOVIES)]
    assert sorted(row for row in rows if row[2] is not None) == headers
    assert sorted(row for row in rows if row[2] is None) == [
        (0, 0, None, 0, True), (0, 0, None, 2, False), (0, 1, None, 0, False), (0, 1, None, 2, True),
        (1, 0, None, 0, True), (1, 0, None, 1, False), (1, 2, None, 0, False), (1, 2, None, 1, True),
    ]  # fmt: skip


def test_the_stream_has_the_schema_that_tasks_read(spark: Any, stream: Any) -> None:
    numbers = streamed(spark, "bigint", [1, 2, 3], [7, 8, 9, 10], [(1, 7, 5.0)])
    for frame, id_type in ((stream, "string"), (numbers, "bigint")):
        expected = query_schema(id_type)
        found = to_arrow_schema(frame.schema)
        assert (found.names, found.types) == (expected.names, expected.types)


@dataclass(frozen=True)
class Listing:
    """Names its file after its input, and ranks nothing."""

    queries: int
    queries_per_file: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [row for batch in batches for row in batch.to_pylist()]
        direction, position = rows[0]["direction"], rows[0]["position"]
        given = " ".join(f"{row['position']}:{'-' if row['seen'] is None else row['seen']}" for row in rows)
        answer = (direction, f"{position // self.queries_per_file} {given}", len(rows), "", len(rows), -1, 10, position)
        yield pa.RecordBatch.from_pylist([dict(zip(FILE_DESCRIPTION.names, answer, strict=True))], FILE_DESCRIPTION)


def test_a_task_gets_the_queries_of_one_file_in_order_each_with_its_header_first(stream: Any) -> None:
    users, movies = write_on_executors(stream, [Listing(3, 2), Listing(4, 3)])
    assert users.files == [DataFile("0 0:- 0:0 0:2 1:- 1:0 1:2", 6, "", 6), DataFile("1 2:-", 1, "", 1)]
    assert movies.files == [DataFile("0 0:- 0:0 0:1 1:- 2:- 2:0 2:1", 7, "", 7), DataFile("1 3:-", 1, "", 1)]
    assert (users.total, users.listed, users.found) == (-2, 20, 0 + 2)
    assert (movies.total, movies.listed, movies.found) == (-2, 20, 0 + 3)


def test_files_depend_on_sizes_alone_and_small_nights_use_several_cores() -> None:
    assert queries_per_file(queries=600, rows_per_query=100, rows_per_file=5_000_000) == 1024
    assert queries_per_file(queries=160_000, rows_per_query=100, rows_per_file=5_000_000) == 10_000
    assert queries_per_file(queries=10_000_000, rows_per_query=100, rows_per_file=5_000_000) == 50_000
    assert queries_per_file(queries=600, rows_per_query=100, rows_per_file=10) == 1
