"""Scores whose bits depend on the two vectors alone, never on the batch or tile of the computation.

FAISS's search multiplies matrices, and a matrix product rounds differently with the shape of its batch. Every score
that orders a list or is published is therefore computed here, pair by pair in a fixed order, so that a retried Spark
task, or another partitioning, writes the same bytes. (Machines with different SIMD widths may still differ in the last
bit of inner_product and l2.)
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np

from kgspark.retrieval.index import FlatIndex, use_threads

# Queries and rows per tile: its few float32 buffers stay in a core's second-level cache.
_TILE_QUERIES, _TILE_ROWS = 16, 2048
# FAISS's type stubs lack these two functions, so they are looked up by name.
_PAIR_KERNELS = {"inner_product": "fvec_inner_products_by_idx", "l2": "fvec_L2sqr_by_idx"}


def score_pairs(index: FlatIndex, queries: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Scores float32 (B, m) of `queries` float32 (B, d) with the rows `ids` int64 (B, m); -inf where an id is -1."""
    if index.metric in _PAIR_KERNELS:
        scores = _by_faiss(index, queries, ids)
    else:
        safe = np.maximum(ids, 0)
        scores = _by_coordinate(index, queries, lambda column: np.take(column, safe), ids.shape)
    scores[ids < 0] = -np.inf
    return scores


def score_all(index: FlatIndex, queries: np.ndarray) -> np.ndarray:
    """Scores float32 (B, N) of every row of the index, bit for bit those of `score_pairs`."""
    if index.metric in _PAIR_KERNELS:
        return _by_faiss(index, queries, np.tile(np.arange(len(index)), (len(queries), 1)))
    scores = np.empty((len(queries), len(index)), dtype=np.float32)

    def fill(corner: tuple[int, int]) -> None:
        rows, tile = (slice(at, at + size) for at, size in zip(corner, (_TILE_QUERIES, _TILE_ROWS), strict=True))
        shape = scores[rows, tile].shape
        scores[rows, tile] = _by_coordinate(index, queries[rows], lambda column: column[None, tile], shape)

    corners = [(b, n) for b in range(0, len(queries), _TILE_QUERIES) for n in range(0, len(index), _TILE_ROWS)]
    if index.threads == 1:
        for corner in corners:
            fill(corner)
    else:
        _ = index.columns  # computed once, before several threads read it
        with ThreadPoolExecutor(index.threads) as pool:
            list(pool.map(fill, corners))
    return scores


def _by_faiss(index: FlatIndex, queries: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Scores by FAISS's pair kernels; each depends on its two vectors alone."""
    use_threads(index.threads)
    out = np.zeros(ids.shape, dtype=np.float32)
    kernel = getattr(faiss, _PAIR_KERNELS[index.metric])
    queries, ids = np.ascontiguousarray(queries), np.ascontiguousarray(ids)
    arrays = (faiss.swig_ptr(array) for array in (out, queries, index.vectors, ids))
    kernel(*arrays, index.vectors.shape[1], *ids.shape)
    return out if index.metric == "inner_product" else distance_score(index, np.sqrt(out))


def _by_coordinate(
    index: FlatIndex, queries: np.ndarray, pick: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """Scores by l1 or modulus, summed one coordinate after the other, so that every pair is rounded in the same way.

    pick  the values of one coordinate, of all rows or of the wanted ones: they broadcast with (B, 1) to `shape`
    """
    total, term, square = np.zeros(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    width = queries.shape[1] if index.metric == "l1" else queries.shape[1] // 2
    for j in range(width):
        np.subtract(queries[:, j, None], pick(index.columns[j]), out=term)
        if index.metric == "l1":
            np.abs(term, out=term)
        else:
            np.subtract(queries[:, j + width, None], pick(index.columns[j + width]), out=square)
            np.multiply(square, square, out=square)
            np.multiply(term, term, out=term)
            np.add(term, square, out=term)
            np.sqrt(term, out=term)
        np.add(total, term, out=total)
    return distance_score(index, total)


def distance_score(index: FlatIndex, distance: np.ndarray) -> np.ndarray:
    """offset - distance, in float32."""
    return np.float32(index.offset) - distance
