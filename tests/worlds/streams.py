"""A saved world as the stage recommend finds it: a search space with ids in a folder, and a stream of queries."""

import numpy as np
import pyarrow as pa

from kgspark.external_ids import write_ids
from kgspark.graph.histories import Histories
from kgspark.retrieval.ranked_files import RankedFiles, write_ranked
from kgspark.retrieval.ranking_task import RankingPlan, rank_batches
from worlds.rankings import World

PER_FILE = 16


def stream(seen: Histories, query_ids: list, rows: range | None = None, liked: np.ndarray | None = None) -> pa.Table:
    """The input table: a header row a query, then its history."""
    index, ids, positions, marks = [], [], [], []
    for query in rows if rows is not None else range(len(seen)):
        entries = range(seen.indptr[query], seen.indptr[query + 1])
        index += [query] * (1 + len(entries))
        ids += [query_ids[query]] + [None] * len(entries)
        positions += [None, *(int(seen.indices[e]) for e in entries)]
        marks += [None, *(bool(liked[e]) for e in entries)] if liked is not None else [None] * (1 + len(entries))
    kind = pa.string() if isinstance(query_ids[0], str) else pa.int64()
    columns = {"index": pa.array(index, pa.int64()), "query_id": pa.array(ids, kind)}
    return pa.table(columns | {"seen": pa.array(positions, pa.int64()), "liked": pa.array(marks, pa.bool_())})


def save(world: World, folder, strings: bool = False):
    folder.mkdir(exist_ok=True)
    world.space.save(folder)
    ids = {}
    for side, rows, prefix, start in (
        ("queries", len(world.space.queries), "user", 10),
        ("items", len(world.space.items), "film", 900),
    ):
        ids[side] = [f"{prefix}-{i}" if strings else start + 7 * i for i in range(rows)]
        write_ids(folder, side, pa.array(ids[side]))
    return ids


def ranked(table: pa.Table, plan: RankingPlan, rows_per_batch: int = 100) -> pa.Table:
    return pa.Table.from_batches(list(rank_batches(iter(table.to_batches(max_chunksize=rows_per_batch)), plan)))


def written(table: pa.Table, files: RankedFiles, rows_per_batch: int) -> list[dict]:
    """What `write_ranked` says of every file: one call a task, as Spark makes them."""
    descriptions = []
    for number in range(-(-40 // PER_FILE)):
        task = table.filter(pa.compute.equal(pa.compute.divide(table["index"], PER_FILE), number))
        for batch in write_ranked(iter(task.to_batches(max_chunksize=rows_per_batch)), files):
            descriptions += batch.to_pylist()
    return descriptions
