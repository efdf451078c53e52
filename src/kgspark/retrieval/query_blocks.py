"""The stream of queries (see `ranking_schemas`) as a ranking task reads it: cut into blocks of whole queries."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.ranking_schemas import QueryColumns


@dataclass(frozen=True)
class QueryBlock:
    """B queries, by rising position.

    positions  int64 (B,): positions of the queries' entities inside their kind
    ids        bigint or string (B,): their external ids
    seen       the positions on the ranked side that each of them has seen
    liked      the part of `seen` that may serve as a reason
    """

    positions: np.ndarray
    ids: pa.Array
    seen: Histories
    liked: Histories


def read_blocks(batches: Iterator[pa.RecordBatch], size: int, queries: int) -> Iterator[QueryBlock]:
    """The queries of the stream in blocks of positions [i · size, (i + 1) · size), reading no further than needed.

    A query may span batches. Raises StageError if the stream is not sorted by position, if a query lacks its header row
    or has two, or if a position is not below `queries`, the number of query vectors.
    """
    for rows in _cut(batches, size):
        yield _decode(rows, queries)


def _cut(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The stream cut where `position // size` changes."""
    pieces: list[pa.RecordBatch] = []
    last = -1
    for batch in batches:
        if batch.num_rows == 0:
            continue
        position = np.concatenate(([last], batch[QueryColumns.POSITION].to_numpy()))
        if (np.diff(position) < 0).any():
            raise StageError("queries to rank must come sorted by position")
        begins = np.flatnonzero(np.diff(position // size)).tolist()
        for number, (start, end) in enumerate(pairwise([0, *begins, batch.num_rows])):
            if number > 0 and pieces:  # every piece but the first begins a block
                yield pa.Table.from_batches(pieces)
                pieces = []
            if start < end:
                pieces.append(batch.slice(start, end - start))
        last = int(position[-1])
    if pieces:
        yield pa.Table.from_batches(pieces)


def _decode(rows: pa.Table, queries: int) -> QueryBlock:
    position, seen = rows[QueryColumns.POSITION].to_numpy(), rows[QueryColumns.SEEN].combine_chunks()
    is_seen = seen.is_valid().to_numpy(zero_copy_only=False)
    headers = np.flatnonzero(~is_seen)
    _check(position, headers, queries)
    sizes = np.diff(headers, append=len(position)) - 1
    histories = Histories.from_sizes(sizes, seen.drop_null().to_numpy().astype(np.int64))
    liked = rows[QueryColumns.LIKED].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)[is_seen]
    ids = rows[QueryColumns.QUERY_ID].combine_chunks().take(pa.array(headers))
    return QueryBlock(position[headers], ids, histories, histories.where(liked))


def _check(position: np.ndarray, headers: np.ndarray, queries: int) -> None:
    """Raises StageError unless every query begins with its only header row, and lies in the search space."""
    starts = np.flatnonzero(np.diff(position, prepend=-1))
    if not np.array_equal(headers, starts):
        stray = np.setxor1d(headers, starts)[0]
        raise StageError(f"query {position[stray]} must have exactly one header row, before its seen rows")
    if position[-1] >= queries:
        raise StageError(f"query {position[-1]} lies outside the search space's {queries} vectors")
