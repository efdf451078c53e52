"""Pools on a disk that every machine sees: written once by the stage, mapped into memory by every worker.

A pool is a folder, numbered from 0: `vectors.npy`, `offered.npy` and `asking.npy` where it is a part of the search
space (see `pools.Pool`), and `index.faiss` where it is searched approximately.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.external_ids import ITEMS, Side
from kgspark.retrieval.approximate import build_approximate, load_approximate
from kgspark.retrieval.index import FlatIndex, build_index, load_index
from kgspark.retrieval.pools import Pool
from kgspark.retrieval.settings import IndexSettings
from kgspark.tables import CANDIDATES, SEGMENTS

# Vectors copied at a time.
_ROWS = 1 << 16


@dataclass(frozen=True)
class PoolFiles:
    """Where pools are read from; small, and pickled with a task.

    space   folder of the search space
    side    the ranked side
    folder  holds the pools of both sides; None for one pool of everything, searched exactly
    """

    space: str
    side: Side
    folder: str | None = None

    @property
    def pools(self) -> Path:
        """Folder of the pools of this side."""
        return Path(self.folder or "") / self.side


def write_pools(files: PoolFiles, candidates: Path | None, settings: IndexSettings, threads: int) -> list[str]:
    """Writes the pools of one side, with the index of each that is large enough for one; returns their kinds of search.

    `candidates` holds the tables `segments` and `candidates`; None for one pool of everything. Who is offered nothing
    is in no pool, and gets no rows.
    """
    index = load_index(Path(files.space), files.side, threads).index
    parts = [None] if candidates is None else list(_parts(files.side, candidates))
    kinds: list[str] = []
    for number, part in enumerate(parts):
        folder = files.pools / str(number)
        folder.mkdir(parents=True)
        if part is not None:
            _write_part(folder, index, *part)
        pool = _read_pool(folder, index)
        kind = settings.kind_for(len(pool.index))
        if kind != "flat":
            build_approximate(folder / "index.faiss", pool.index, settings)
        kinds.append(kind)
    return kinds


def load_pools(files: PoolFiles, threads: int) -> Sequence[Pool]:
    """The pools, opened once in a process for files that stay as they are. Raises InputError if one is missing."""
    parts = [] if files.folder is None else sorted(files.pools.glob("*/*"))
    stamp = tuple(path.stat().st_mtime_ns for path in [*sorted(Path(files.space).iterdir()), *parts])
    return _opened(files, threads, stamp)


@lru_cache(maxsize=4)
def _opened(files: PoolFiles, threads: int, stamp: tuple[int, ...]) -> Sequence[Pool]:
    index = load_index(Path(files.space), files.side, threads).index
    if files.folder is None:
        return [Pool(index)]
    return [_read_pool(folder, index) for folder in sorted(files.pools.iterdir(), key=lambda path: int(path.name))]


def _read_pool(folder: Path, whole: FlatIndex) -> Pool:
    index, offered, asking = whole, None, None
    if (folder / "vectors.npy").exists():
        vectors, offered, asking = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("vectors", "offered", "asking")
        )
        index = build_index(vectors, whole.metric, whole.offset, whole.threads)
    path = folder / "index.faiss"
    return Pool(index, offered, asking, load_approximate(path) if path.exists() else None)


def _write_part(folder: Path, index: FlatIndex, offered: np.ndarray, asking: np.ndarray) -> None:
    shape = (len(offered), index.vectors.shape[1])
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, shape)
    for start in range(0, len(offered), _ROWS):
        vectors[start : start + _ROWS] = index.vectors[offered[start : start + _ROWS]]
    vectors.flush()
    np.save(folder / "offered.npy", offered)
    np.save(folder / "asking.npy", asking)


def _parts(side: Side, candidates: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What each segment with users and movies is offered and who of it asks, int64 positions, sorted."""
    users, movies = (_positions(candidates / table) for table in (SEGMENTS, CANDIDATES))
    for segment in sorted(users.keys() & movies.keys()):
        yield (movies[segment], users[segment]) if side == ITEMS else (users[segment], movies[segment])


def _positions(folder: Path) -> dict[str, np.ndarray]:
    """Sorted positions int64 by segment, of a table with columns index and segment."""
    table: pa.Table = ds.dataset(sorted(folder.glob("*.parquet"))).to_table(columns=["index", "segment"])
    return {
        name: np.sort(table.filter(pc.field("segment") == name)["index"].to_numpy())
        for name in pc.unique(table["segment"]).to_pylist()
    }
