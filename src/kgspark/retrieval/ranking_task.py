"""Ranking inside a Spark task: Arrow batches of queries and their histories in, Arrow batches of ranked rows out.

This is the function that the recommend stage hands to `mapInArrow`; it knows nothing of Spark. Recommendations ask the
items with users; audiences ask the users with items. All four scores are symmetric, so the same code serves both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from kgspark.errors import StageError
from kgspark.external_ids import Side, read_ids
from kgspark.graph.histories import Histories
from kgspark.retrieval.index import Engine, LoadedSide, load_index
from kgspark.retrieval.pool_files import PoolFiles, load_pools
from kgspark.retrieval.pools import Pool, rank_pools
from kgspark.retrieval.reasons import nearest_liked
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.topk import Ranking
from kgspark.tables import SOURCES


@dataclass(frozen=True)
class RankingPlan:
    """All that a task needs to rank; small, and pickled with the task.

    folder       holds the search space and the ranked side's external ids (`external_ids`), readable on every machine
    side         the ranked side: "items" recommends items to queries, "queries" finds queries for items
    k            rows a query gets, at most
    block        queries ranked at a time; bounds the memory, never changes a value
    threads      cores of the task
    engine       asked in the task for what searches there in FAISS's place; None, or its None, for FAISS
    pools        folder of `write_pools`; None offers everything to everybody, and searches exactly
    index        settings of the approximate search
    sample_every one query in so many is ranked exactly too, to measure recall; 0 for none
    query_name   output column of the asking external id
    item_name    output column of the ranked external id
    reason_name  output column of the liked item nearest to each recommended one, or None to leave it out
    """

    folder: str
    side: Side
    k: int
    block: int = 4096
    threads: int = 1
    engine: Callable[[], Engine | None] | None = None
    pools: str | None = None
    index: IndexSettings = field(default_factory=IndexSettings)
    sample_every: int = 0
    query_name: str = "query_id"
    item_name: str = "item_id"
    reason_name: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for reasons asked of the wrong side."""
        if self.reason_name is not None and self.side != "items":
            raise ValueError("reasons compare items with items, so they need side='items'")

    @property
    def pool_files(self) -> PoolFiles:
        """Who is ranked against what."""
        return PoolFiles(self.folder, self.side, self.pools)


@dataclass
class Recall:
    """What a sample of the queries should have got, and how much of it an approximate index found.

    listed  rows of the sampled queries' exact lists
    found   how many of them are in the lists that are written
    """

    listed: int = 0
    found: int = 0

    def count(self, exact: Ranking, written: Ranking) -> None:
        """Counts two rankings of the same queries, (B, k) each."""
        wanted = Histories(np.concatenate(([0], np.cumsum(exact.counts))), exact.ids[exact.ids >= 0])
        self.listed += len(wanted.indices)
        self.found += int(wanted.contains(written.ids).sum())


def rank_batches(
    batches: Iterator[pa.RecordBatch], plan: RankingPlan, recall: Recall | None = None
) -> Iterator[pa.RecordBatch]:
    """Ranks every query of a stream that is sorted by `index` (ties: the header row first).

    In, a header row a query and then a row for everything it has seen; a query may span batches:

    - `index` int64: position among the asking vectors
    - `query_id` int64 or string: its external id on the header row, null on the others
    - `seen` int64: position on the ranked side, null on the header row
    - `liked` bool, only with `reason_name`: whether the seen item may serve as a reason; ignored on the header row

    Out, a query's rows by rising rank: `query_name`, `rank` int32 from 1, `item_name`, `score` float32, `source` string
    (what the two vectors came from, see `tables.SOURCES`), and `reason_name` (null without a liked item). Values do
    not depend on how the stream was cut into batches or partitions. `recall`, if given, is added up on the way, over
    one query in `plan.sample_every`. Raises StageError if the stream is not sorted, a
    header is missing, or a position does not exist; InputError if the folder lacks a file.
    """
    folder = Path(plan.folder)
    loaded = load_index(folder, plan.side, plan.threads)
    ids = read_ids(folder, plan.side, len(loaded.index))
    pools = load_pools(plan.pool_files, plan.threads)
    engine = plan.engine() if plan.engine is not None else None
    if engine is not None:
        pools = [replace(pool, index=replace(pool.index, engine=engine)) for pool in pools]
    for block in _blocks(batches, plan.block):
        yield _rank_block(block, loaded, pools, ids, plan, recall)


def _blocks(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The stream cut where `index // size` changes, so that a block holds whole queries."""
    held: list[pa.RecordBatch] = []
    last = -1
    for batch in batches:
        if batch.num_rows == 0:
            continue
        index = np.concatenate(([last], batch["index"].to_numpy()))
        if (np.diff(index) < 0).any():
            raise StageError("queries to rank must come sorted by index")
        begins = np.flatnonzero(np.diff(index // size)).tolist()
        for place, (start, end) in enumerate(pairwise([0, *begins, batch.num_rows])):
            if place > 0 and held:  # every piece but the first begins a block
                yield pa.Table.from_batches(held)
                held = []
            if start < end:
                held.append(batch.slice(start, end - start))
        last = int(index[-1])
    if held:
        yield pa.Table.from_batches(held)


def _rank_block(
    block: pa.Table, loaded: LoadedSide, pools: Sequence[Pool], ids: pa.Array, plan: RankingPlan, recall: Recall | None
) -> pa.RecordBatch:
    positions, histories, seen_rows = _histories(block, len(loaded.asking))
    ranking = rank_pools(pools, loaded.asking[positions], positions, histories, plan.k, plan.index)
    if recall is not None and plan.sample_every:
        _measure(recall, ranking, pools, loaded, positions, histories, plan)
    filled = ranking.ids >= 0
    asked = np.repeat(np.arange(len(positions)), ranking.counts)
    rank = np.broadcast_to(np.arange(1, plan.k + 1, dtype=np.int32), filled.shape)[filled]
    ranked = ranking.ids[filled]
    source = np.minimum(loaded.asking_sources[positions][asked], loaded.ranked_sources[ranked])
    query_ids = block["query_id"].combine_chunks().filter(pa.array(~seen_rows))
    columns = {
        plan.query_name: query_ids.take(pa.array(asked)),
        "rank": pa.array(rank),
        plan.item_name: ids.take(pa.array(ranked)),
        "score": pa.array(ranking.scores[filled]),
        "source": pa.array(SOURCES).take(pa.array(source)),
    }
    if plan.reason_name is not None:
        liked = _liked(block, histories, seen_rows)
        columns[plan.reason_name] = _reasons(loaded, ranking, liked, ids)
    return pa.RecordBatch.from_pydict(columns)


def _measure(
    recall: Recall,
    ranking: Ranking,
    pools: Sequence[Pool],
    loaded: LoadedSide,
    positions: np.ndarray,
    histories: Histories,
    plan: RankingPlan,
) -> None:
    rows = np.flatnonzero(positions % plan.sample_every == 0)
    exact = rank_pools(pools, loaded.asking[positions[rows]], positions[rows], histories.pick(rows), plan.k)
    recall.count(exact, Ranking(ranking.ids[rows], ranking.scores[rows], ranking.counts[rows]))


def _histories(block: pa.Table, asking: int) -> tuple[np.ndarray, Histories, np.ndarray]:
    """Positions int64 (B,) of the block's queries, their histories, and which rows of the block are seen rows."""
    index, seen = block["index"].to_numpy(), block["seen"].combine_chunks()
    seen_rows = seen.is_valid().to_numpy(zero_copy_only=False)
    headers = np.flatnonzero(~seen_rows)
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    if not np.array_equal(headers, starts):
        stray = np.setxor1d(headers, starts)[0]
        raise StageError(f"query {index[stray]} must have exactly one header row, before its seen rows")
    if index[-1] >= asking:
        raise StageError(f"query {index[-1]} lies outside the search space's {asking} vectors")
    sizes = np.diff(headers, append=len(index)) - 1
    indptr = np.concatenate(([0], np.cumsum(sizes)))
    return index[headers], Histories(indptr, seen.drop_null().to_numpy().astype(np.int64)), seen_rows


def _liked(block: pa.Table, seen: Histories, seen_rows: np.ndarray) -> Histories:
    """The part of the histories that the `liked` column marks."""
    marked = block["liked"].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)[seen_rows]
    sizes = np.bincount(seen.rows()[marked], minlength=len(seen))
    return Histories(np.concatenate(([0], np.cumsum(sizes))), seen.indices[marked])


def _reasons(loaded: LoadedSide, ranking: Ranking, liked: Histories, ids: pa.Array) -> pa.Array:
    nearest = nearest_liked(loaded.index.vectors, ranking.ids, liked)[ranking.ids >= 0]
    return ids.take(pa.array(nearest, mask=nearest < 0))
