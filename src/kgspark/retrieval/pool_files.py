"""Pools on a disk that every machine can read: written once by the stage, memory-mapped by every worker.

The pools of one ranked side are sub-folders of one folder, numbered from 0. A pool that is a part of the search space
holds `vectors.npy` and `offered.npy`, and `queries.npy` if it is for some queries only (see `pools.Pool`). One that is
searched approximately also holds `index.faiss`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.retrieval.approximate import build_approximate, load_approximate
from kgspark.retrieval.index import FlatIndex, build_index
from kgspark.retrieval.pools import Pool
from kgspark.retrieval.settings import IndexSettings
from kgspark.search_space import ITEMS, Side
from kgspark.tables import CANDIDATES, SEGMENTS, Columns

# Vectors copied at a time.
_ROWS = 1 << 16


def write_pools(
    folder: Path,
    index: FlatIndex,
    side: Side,
    candidates: Path | None,
    settings: IndexSettings,
    placed: np.ndarray | None = None,
    of_all: bool = False,
) -> list[str]:
    """Writes the pools of a ranked side into the new `folder`; returns the kind of search of each pool.

    index       over the whole ranked side `side`
    candidates  holds the tables `segments` and `candidates`; None for one pool of everything
    placed      mask bool (rows of the side,): the rows that may be ranked; None for all
    of_all      True for one pool of every movie that any segment is offered, for all queries

    A pool with enough rows gets the approximate index that `settings` names. Users without any candidate, and movies
    that no user is offered, are in no pool and get no rows.
    """
    folder.mkdir(parents=True)
    parts = list(_parts(side, candidates, placed, of_all))
    kinds: list[str] = []
    for number, part in enumerate(parts):
        of_pool = folder / str(number)
        of_pool.mkdir()
        if part is not None:
            _write_part(of_pool, index, *part)
        pool = _read_pool(of_pool, index)
        kind = settings.kind_for(len(pool.index))
        if kind != "flat":
            build_approximate(of_pool / "index.faiss", pool.index, settings)
        kinds.append(kind)
    return kinds


def load_pools(folder: Path, index: FlatIndex) -> Sequence[Pool]:
    """The pools that `write_pools` wrote to `folder` for the whole side `index`.

    They are opened once per process, and again only if `index` is another one or a file changes.
    """
    stamp = tuple(path.stat().st_mtime_ns for path in sorted(folder.glob("*/*")))
    return _open_pools(folder, index, stamp)


@lru_cache(maxsize=4)
def _open_pools(folder: Path, index: FlatIndex, stamp: tuple[int, ...]) -> Sequence[Pool]:
    """Reads the pools; cached by `stamp`, the state of the files, so that changed files are read again."""
    return [_read_pool(path, index) for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]


def _read_pool(folder: Path, whole: FlatIndex) -> Pool:
    mapped = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
    index = whole
    if "vectors" in mapped:
        index = build_index(mapped["vectors"], whole.metric, whole.offset, whole.threads)
    path = folder / "index.faiss"
    found_by = load_approximate(path) if path.exists() else None
    return Pool(index, mapped.get("offered"), mapped.get("queries"), found_by)


def _write_part(folder: Path, index: FlatIndex, offered: np.ndarray, queries: np.ndarray | None) -> None:
    shape = (len(offered), index.vectors.shape[1])
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, shape)
    for start in range(0, len(offered), _ROWS):
        vectors[start : start + _ROWS] = index.vectors[offered[start : start + _ROWS]]
    vectors.flush()
    np.save(folder / "offered.npy", offered)
    if queries is not None:
        np.save(folder / "queries.npy", queries)


def _parts(
    side: Side, candidates: Path | None, placed: np.ndarray | None, of_all: bool
) -> Iterator[tuple[np.ndarray, np.ndarray | None] | None]:
    """Per pool: the positions of the offered rows and of the queries (None for all), int64, sorted; or None for all."""
    if candidates is None:
        yield None if placed is None else (np.flatnonzero(placed), None)
        return
    if of_all:
        offered = np.unique(np.concatenate([np.empty(0, np.int64), *_positions(candidates / CANDIDATES).values()]))
        yield offered if placed is None else offered[placed[offered]], None
        return
    for _, users, movies in offered_by_segment(candidates):
        offered, queries = (movies, users) if side == ITEMS else (users, movies)
        offered = offered if placed is None else offered[placed[offered]]
        if len(offered):
            yield offered, queries


def offered_by_segment(candidates: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Per segment with users and movies: its name, and the positions of its users and of its movies, int64, sorted."""
    users, movies = (_positions(candidates / table) for table in (SEGMENTS, CANDIDATES))
    for segment in sorted(users.keys() & movies.keys()):
        yield segment, users[segment], movies[segment]


def _positions(folder: Path) -> dict[str, np.ndarray]:
    """Sorted positions int64 by segment, of a table with columns position and segment."""
    files = sorted(folder.glob("*.parquet"))
    table: pa.Table = ds.dataset(files).to_table(columns=[Columns.POSITION, Columns.SEGMENT])
    return {
        name: np.sort(table.filter(pc.field(Columns.SEGMENT) == name)[Columns.POSITION].to_numpy())
        for name in pc.unique(table[Columns.SEGMENT]).to_pylist()
    }
