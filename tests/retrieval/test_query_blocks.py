"""The stream of queries is cut into blocks of whole queries; a wrong stream is refused with an error of one line."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.retrieval.query_blocks import QueryBlock, read_blocks
from worlds.rankings import random_world
from worlds.streams import stream

NAMES = ["ann", "bob", "cid", "dan", "eve"]
# Ann has seen 4 and 2, cid has seen 1.
SEEN, LIKED = Histories(np.array([0, 2, 2, 3, 3, 3]), np.array([4, 2, 1])), np.array([True, False, True])


def blocks(table: pa.Table, size: int = 100, rows_per_batch: int = 100, queries: int = 5) -> list[QueryBlock]:
    return list(read_blocks(iter(table.to_batches(max_chunksize=rows_per_batch)), size, queries))


def lists(histories: Histories) -> list[list[int]]:
    return [histories.pick(np.array([row])).indices.tolist() for row in range(len(histories))]


@pytest.mark.parametrize("rows_per_batch", [1, 3, 100])
def test_blocks_hold_whole_queries_however_the_stream_is_cut(rows_per_batch: int) -> None:
    first, second, third = blocks(stream(SEEN, NAMES, liked=LIKED), 2, rows_per_batch)
    assert [block.positions.tolist() for block in (first, second, third)] == [[0, 1], [2, 3], [4]]
    assert [block.ids.to_pylist() for block in (first, second, third)] == [["ann", "bob"], ["cid", "dan"], ["eve"]]
    assert [lists(block.seen) for block in (first, second, third)] == [[[4, 2], []], [[1], []], [[]]]
    assert [lists(block.liked) for block in (first, second, third)] == [[[4], []], [[1], []], [[]]]


def test_nothing_is_liked_where_nothing_is_marked() -> None:
    (block,) = blocks(stream(SEEN, NAMES))
    assert lists(block.liked) == [[]] * 5


def test_a_block_waits_for_no_more_than_its_own_rows() -> None:
    world = random_world("inner_product", 32, users=64, k=5)
    drawn: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream(world.seen, list(range(64))).to_batches(max_chunksize=10):
            drawn.append(batch["position"][-1].as_py())
            yield batch

    for number, _ in enumerate(read_blocks(batches(), 8, 64)):
        assert drawn[-1] // 8 <= number + 1 or drawn[-2] // 8 <= number


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([3, 4, 0, 1, 2], "must come sorted by position"),
        ([0, 1, 2, 5], "query 2 must have exactly one header row"),
        ([0, 3, 3], "query 1 must have exactly one header row"),
    ],
)
def test_broken_streams_are_refused_in_one_line(rows: list[int], says: str) -> None:
    with pytest.raises(StageError, match=says):
        blocks(stream(SEEN, NAMES).take(pa.array(rows)))


def test_a_query_outside_the_search_space_is_named() -> None:
    everybody: list[Any] = [*NAMES, "foe"]
    with pytest.raises(StageError, match="query 5 lies outside the search space's 5 vectors"):
        blocks(stream(Histories.empty(6), everybody))
