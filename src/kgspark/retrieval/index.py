"""The exact index over one side of a search space, built once per process.

It is FAISS's flat search over the caller's own array: nothing is copied, so the Spark Python workers of a machine share
the pages of one memory-mapped file. `faiss.knn` does the same as `IndexFlat`, without the copy. An approximate index
(`approximate`) only finds candidates; their scores come from the flat index over the same vectors, which also ranks the
queries that have too few candidates. A search on a GPU (`device`) replaces FAISS inside the flat index.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import faiss
import numpy as np

from kgspark.errors import StageError
from kgspark.search_space import Metric, SearchSpace, Side

# FAISS's name of the distance that finds candidates. FAISS has no sum of moduli (RotatE), so Euclidean distance finds
# them (for unit moduli it has the same order as the inner product over (re, im)), and `bounds` limits the score of a
# row that was not fetched.
_CANDIDATES_BY = {"inner_product": "inner_product", "l2": "l2", "l1": "l1", "modulus": "l2"}
_FAISS_METRIC = {"inner_product": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2, "l1": faiss.METRIC_L1}

# Vectors checked at a time, so that a check of a mapped file does not load all of it into memory.
_ROWS = 1 << 16

# A search that replaces FAISS's: (queries float32 (B, d), vectors float32 (N, d), depth, FAISS metric by name) ->
# (values float32, rows int64), both (B, min(depth, N)), as `FlatIndex.search` returns them. Values must be sums of
# float32 products or differences in any order, without coarser rounding: `bounds` relies on it. Several threads may
# call it at once. The one implementation is `cuda_search.MatrixSearch`.
Engine = Callable[[np.ndarray, np.ndarray, int, str], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class FlatIndex:
    """Vectors to rank, and how to score them. An index equals only itself.

    vectors  float32 (N, d), C-contiguous and finite
    offset   added to a distance-based score
    threads  cores that a search may use
    engine   the search that replaces FAISS's; None for FAISS
    """

    vectors: np.ndarray
    metric: Metric
    offset: float = 0.0
    threads: int = 1
    engine: Engine | None = None

    def __len__(self) -> int:
        """Rows, N."""
        return len(self.vectors)

    def search(self, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """FAISS's best `depth` rows of each query float32 (B, d): values float32, rows int64, both (B, depth).

        Values are inner products, squared Euclidean distances (l2, modulus) or L1 distances, best first. Their last
        bits depend on the batch that they were computed in; `scores` computes values that do not.
        """
        metric = _CANDIDATES_BY[self.metric]
        if self.engine is not None:
            return self.engine(queries, self.vectors, depth, metric)
        use_threads(self.threads)
        return faiss.knn(queries, self.vectors, depth, metric=_FAISS_METRIC[metric])

    @cached_property
    def on_one_core(self) -> "FlatIndex":
        """The same index for use by several threads at once: each call runs in the thread that makes it."""
        return self if self.threads == 1 else replace(self, threads=1)

    @cached_property
    def columns(self) -> np.ndarray:
        """The vectors by coordinate, float32 (d, N), as the coordinate-wise metrics read them."""
        return np.ascontiguousarray(self.vectors.T)

    @cached_property
    def radius(self) -> float:
        """The largest Euclidean norm of a vector."""
        return float(row_norms(self.vectors).max(initial=0.0))

    @cached_property
    def largest_modulus(self) -> float:
        """The largest modulus of a complex coordinate (modulus only)."""
        half = self.vectors.shape[1] // 2
        return float(np.hypot(self.vectors[:, :half], self.vectors[:, half:]).max(initial=0.0))


def build_index(vectors: np.ndarray, metric: Metric, offset: float = 0.0, threads: int = 1) -> FlatIndex:
    """An exact index over `vectors` (N, d); nothing is copied if they are C-contiguous float32 already.

    Raises ValueError for a wrong shape or metric, and StageError for a vector that is not finite.
    """
    if metric not in get_args(Metric):
        raise ValueError(f"unknown metric {metric!r}; expected one of {', '.join(get_args(Metric))}")
    if vectors.ndim != 2 or (metric == "modulus" and vectors.shape[1] % 2):
        raise ValueError(f"vectors {vectors.shape} must be (rows, d), with an even d for modulus")
    check_finite(vectors, "the index")
    return FlatIndex(np.ascontiguousarray(vectors, dtype=np.float32), metric, offset, threads)


_loaded: dict[tuple[Path, Side, int], tuple[object, FlatIndex]] = {}


def load_index(folder: Path, side: Side, threads: int = 1) -> FlatIndex:
    """The index over `side` of the search space in `folder`, built at most once per process.

    It is built again if the folder was written again (another model_id, or a newer file). Raises InputError if a file
    is missing, StageError for a vector that is not finite.
    """
    space = SearchSpace.load(folder)
    stamp = (space.model_id, *((folder / name).stat().st_mtime_ns for name in ("queries.npy", "items.npy")))
    key = (folder.resolve(), side, threads)
    if key not in _loaded or _loaded[key][0] != stamp:
        _loaded[key] = (stamp, build_index(space.vectors(side), space.metric, space.offset, threads))
    return _loaded[key][1]


def use_threads(threads: int) -> None:
    """Lets FAISS use `threads` cores of this process, and sets the tile sizes that are fastest here.

    By default FAISS 1.15 uses BLAS only for about 1,000 queries of 128 dimensions or more, although BLAS is faster from
    four queries on. Its threads wait for each other after every tile of rows (1,024 by default). The waits are longest
    when other tasks compete for the cores, so several threads get larger tiles. A single thread gets the smaller tile,
    which fits its cache.
    """
    faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_threshold = 512
    faiss.cvar.distance_compute_blas_database_bs = 1024 if threads == 1 else 4096


def row_norms(vectors: np.ndarray) -> np.ndarray:
    """Euclidean norms, float64 (rows,), without a float64 copy of the vectors."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64, casting="safe"))


def check_finite(vectors: np.ndarray, name: str) -> None:
    """Raises StageError naming the first row that holds NaN or infinity; FAISS would silently drop it."""
    for start in range(0, len(vectors), _ROWS):
        finite = np.isfinite(vectors[start : start + _ROWS]).all(axis=1)
        if not finite.all():
            raise StageError(f"vector {start + int(np.argmin(finite))} of {name} is not finite; the model has diverged")
