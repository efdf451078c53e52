"""Our xxhash64 is Spark's, for every type of id and every length of text."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kgspark.in_memory.hashing import hash_column, hash_integers, uniform

# Of every length around the steps of the algorithm (4, 8 and 32 bytes), and not only ASCII.
TEXTS = ["x" * length for length in (*range(1, 17), 31, 32, 33, 63, 64, 65, 100)] + ["Пример", "映画 7", "é", "0"]
NUMBERS = [0, 1, -1, 42, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("ids", [NUMBERS, TEXTS], ids=["integers", "texts"])
@pytest.mark.parametrize("seed", [42, -7, 2**40])
def test_uniform_numbers_are_those_of_the_split(spark: Any, ids: list[Any], seed: int) -> None:
    from kgspark.spark.graph.splits import _uniform

    pairs = [(user, movie) for user in ids for movie in ids[::3]]
    kind = "string" if isinstance(ids[0], str) else "bigint"
    frame = spark.createDataFrame(pairs, f"user_id {kind}, movie_id {kind}")
    drawn = frame.select("user_id", "movie_id", _uniform(seed).alias("pair"), _uniform(seed, "movie_id").alias("movie"))
    rows = drawn.collect()
    users, movies = (pa.array([row[name] for row in rows]) for name in ("user_id", "movie_id"))
    assert uniform(seed, (users, movies)).tolist() == [row["pair"] for row in rows]
    assert uniform(seed, (movies,)).tolist() == [row["movie"] for row in rows]


def test_published_values() -> None:
    """XXH64 of the empty text and of `a` with the seed 0, from the algorithm's own tests."""
    zero = np.zeros(1, np.uint64)
    assert hash_column(pa.array([""]), zero)[0] == 0xEF46DB3751D8E999
    assert hash_column(pa.array(["a"]), zero)[0] == 0xD24EC4F1A98C6E5B
    # An integer is hashed as its eight bytes.
    assert hash_integers(np.array([0x6867666564636261]), zero)[0] == hash_column(pa.array(["abcdefgh"]), zero)[0]
