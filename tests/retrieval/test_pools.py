"""Segments of users and their candidates, in both directions, compared with brute force over all allowed pairs."""

import mmap
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.graph.histories import Histories
from kgspark.retrieval.index import build_index, load_index
from kgspark.retrieval.pool_files import load_pools, write_pools
from kgspark.retrieval.pools import Pool, rank_pools
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.settings import IndexSettings
from kgspark.search_space import ITEMS, Side
from worlds.rankings import World, random_world
from worlds.streams import ranked, save, stream, task

SEGMENTS = ("empty", "fr", "kids", "rest")


def write_segments(folder: Path, world: World, seed: int) -> np.ndarray:
    """Writes both tables, with rows shuffled over two files; returns a mask bool (U, M) of the allowed pairs."""
    rng = np.random.default_rng(seed)
    users, movies = len(world.space.queries), len(world.space.items)
    of_user = rng.integers(1, len(SEGMENTS), users)  # nobody is in "empty"
    offered = rng.random((len(SEGMENTS), movies)) < np.array([[0.5], [0.02], [0.5], [1.0]])
    rows = {"segments": (np.arange(users), of_user), "candidates": np.nonzero(offered)[::-1]}
    for name, (position, segment) in rows.items():
        (folder / name).mkdir()
        mixed = rng.permutation(len(position))
        for number, part in enumerate(np.array_split(mixed, 2)):
            names = pa.array(SEGMENTS).take(pa.array(segment[part]))
            table = pa.table({"position": position[part].astype(np.int64), "segment": names})
            pq.write_table(table, folder / name / f"part-{number:05d}.parquet")
    return offered[of_user]


def pools_of(folder: Path, side: Side) -> Sequence[Pool]:
    index = load_index(folder, side)
    shutil.rmtree(folder / "pools" / side, ignore_errors=True)
    write_pools(folder / "pools" / side, index, side, folder, IndexSettings())
    return load_pools(folder / "pools" / side, index)


def best_allowed(scores: np.ndarray, allowed: np.ndarray, k: int) -> list[list[int]]:
    return [
        [int(i) for i in np.lexsort((np.arange(len(row)), -row)) if may[i]][:k]
        for row, may in zip(scores, allowed, strict=True)
    ]


def transposed(seen: Histories, movies: int) -> Histories:
    order = np.argsort(seen.indices, kind="stable")
    return Histories.from_sizes(seen.counts(movies), seen.rows()[order])


def seen_matrix(seen: Histories, columns: int) -> np.ndarray:
    marks = np.zeros((len(seen), columns), dtype=bool)
    marks[seen.rows(), seen.indices] = True
    return marks


@pytest.mark.parametrize("metric", ["inner_product", "l1"])
@pytest.mark.parametrize("seed", range(8))
def test_every_query_gets_the_best_rows_that_it_is_offered(tmp_path: Path, metric, seed: int) -> None:
    world = random_world(metric, seed)
    save(world, tmp_path)
    allowed = write_segments(tmp_path, world, seed)
    space, movies = world.space, len(world.space.items)
    directions = {
        "items": (space.queries, space.items, world.seen, allowed),
        "queries": (space.items, space.queries, transposed(world.seen, movies), allowed.T),
    }
    for side, (asking, offered, seen, may) in directions.items():
        pools = pools_of(tmp_path, side)
        assert len(pools) <= len(SEGMENTS) - 1  # nobody is in "empty", and a segment may have no movie
        scores = score_all(build_index(offered, metric, space.offset), np.ascontiguousarray(asking))
        chosen = np.random.default_rng(seed).permutation(len(asking))[:30]
        got = rank_pools(pools, asking[chosen], chosen, seen.pick(chosen), world.k)
        may = (may & ~seen_matrix(seen, len(offered)))[chosen]
        wanted = best_allowed(scores[chosen], may, world.k)
        assert [row[row >= 0].tolist() for row in got.ids] == wanted
        assert got.counts.tolist() == [len(row) for row in wanted]
        for row, place in enumerate(chosen):
            assert got.scores[row, : got.counts[row]].tobytes() == scores[place, wanted[row]].tobytes()


def test_a_task_with_candidates_ranks_and_reasons_by_them(tmp_path: Path) -> None:
    world = random_world("inner_product", 4, k=10)
    ids = save(world, tmp_path)
    allowed = write_segments(tmp_path, world, 1)
    pools_of(tmp_path, "items")
    asked = task(tmp_path, 10, block=16, pools=str(tmp_path / "pools" / ITEMS), reason_name="because")
    table = stream(world.seen, ids["queries"], liked=np.ones(len(world.seen.indices), dtype=bool))
    out = ranked(table, asked)
    places = {external: place for place, external in enumerate(ids["items"])}
    users = {external: place for place, external in enumerate(ids["queries"])}
    seen = world.seen_sets()
    assert len(out)
    for row in out.to_pylist():
        user = users[row["query_id"]]
        assert allowed[user, places[row["item_id"]]]
        assert row["because"] is None or places[row["because"]] in seen[user]
    due = np.minimum(10, (allowed & ~seen_matrix(world.seen, allowed.shape[1])).sum(axis=1))
    assert len(out) == due.sum()


def test_pools_that_were_written_again_are_opened_again(tmp_path: Path) -> None:
    world = random_world("l2", 8)
    save(world, tmp_path)
    write_segments(tmp_path, world, 1)
    before = pools_of(tmp_path, "items")
    assert load_pools(tmp_path / "pools" / ITEMS, load_index(tmp_path, ITEMS)) is before
    pq.write_table(pa.table({"position": [0], "segment": ["rest"]}), tmp_path / "candidates" / "part-00000.parquet")
    pq.write_table(pa.table({"position": [1], "segment": ["rest"]}), tmp_path / "candidates" / "part-00001.parquet")
    assert [pool.offered.tolist() for pool in pools_of(tmp_path, "items")][-1] == [0, 1]


def test_a_worker_maps_its_pools_and_copies_none_of_them(tmp_path: Path) -> None:
    world = random_world("inner_product", 3)
    save(world, tmp_path)
    write_segments(tmp_path, world, 3)
    pools = pools_of(tmp_path, "queries")
    assert pools
    for pool in pools:
        for array in (pool.index.vectors, pool.offered, pool.queries):
            assert any(isinstance(base, mmap.mmap) for base in bases(array))


def bases(array: np.ndarray) -> Iterator[object]:
    """The objects that an array's memory belongs to, from view to owner."""
    while array is not None:
        yield array
        array = getattr(array, "base", None)
