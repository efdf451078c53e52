"""A saved world in the form that the stage recommend reads: a search space with ids, and a stream of queries."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.graph.histories import Histories
from kgspark.ranking_schemas import QueryColumns, query_schema
from kgspark.retrieval.ranking_task import RankingTask
from kgspark.search_space import ITEMS, QUERIES, Side, write_ids
from worlds.rankings import World

Ids = list[int] | list[str]

USERS, PER_FILE = 40, 16


def stream(seen: Histories, query_ids: Ids, rows: range | None = None, liked: np.ndarray | None = None) -> pa.Table:
    """The stream of queries: a header row per query, then one row per entry of its history."""
    lines: list[tuple[Any, ...]] = []
    for query in rows if rows is not None else range(len(seen)):
        lines.append((0, query, query_ids[query], None, None))
        for entry in range(seen.indptr[query], seen.indptr[query + 1]):
            mark = None if liked is None else bool(liked[entry])
            lines.append((0, query, None, int(seen.indices[entry]), mark))
    schema = query_schema("string" if isinstance(query_ids[0], str) else "bigint")
    return pa.table(list(map(list, zip(*lines, strict=True))), schema=schema)


def save(world: World, folder: Path, strings: bool = False) -> dict[Side, Ids]:
    """Writes the world's search space with external ids; returns the ids of both sides by position."""
    folder.mkdir(exist_ok=True)
    world.space.save(folder)
    ids: dict[Side, Ids] = {}
    for side, prefix, start in ((QUERIES, "user", 10), (ITEMS, "film", 900)):
        rows = range(len(world.space.vectors(side)))
        ids[side] = [f"{prefix}-{i}" for i in rows] if strings else [start + 7 * i for i in rows]
        write_ids(folder, side, pa.array(ids[side]))
    return ids


def task(folder: Path, k: int, side: Side = ITEMS, **more: Any) -> RankingTask:
    """A task over the space in `folder`, which writes into the neighbouring folder `out`."""
    fixed = {"queries": USERS, "queries_per_file": PER_FILE, "out": str(folder.parent / "out")}
    return RankingTask(space=str(folder), side=side, k=k, **(fixed | more))


def ranked(table: pa.Table, task: RankingTask, rows_per_batch: int = 100) -> pa.Table:
    """The rows that the task ranks, without writing them."""
    return pa.Table.from_batches(list(task.rank(iter(table.to_batches(max_chunksize=rows_per_batch)))))


def written(table: pa.Table, task: RankingTask, rows_per_batch: int) -> list[dict[str, Any]]:
    """The task's answer for every file: one call per file, as in Spark."""
    answers = []
    for number in range(-(-task.queries // task.queries_per_file)):
        part = table.filter(pc.equal(pc.divide(table[QueryColumns.POSITION], task.queries_per_file), number))
        for batch in task(iter(part.to_batches(max_chunksize=rows_per_batch))):
            answers += batch.to_pylist()
    return answers
