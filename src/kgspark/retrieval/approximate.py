"""Approximate FAISS indexes: built once for a night, loaded by every worker, their findings scored again exactly.

Only candidates come from here. Their scores are those of `scores`, and a query for which too few unseen candidates were
found is ranked exactly, so that lists are as long, as ordered and as free of seen rows as those of the flat index; what
an approximate index can lose is recall, which `blocks.Recall` measures.
"""

import math
from pathlib import Path

import faiss
import numpy as np

from kgspark.errors import ConfigError
from kgspark.graph.histories import Histories
from kgspark.retrieval.index import FlatIndex, check_finite, use_threads
from kgspark.retrieval.scores import score_pairs
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.topk import Ranking, top_k

# Cells of a (queries, candidates) buffer.
_CELLS = 4_000_000
# FAISS looks at this many points a centre, and warns below this many.
_MOST_POINTS, _LEAST_POINTS = 256, 39


def build_approximate(path: Path, index: FlatIndex, settings: IndexSettings) -> None:
    """Writes an approximate index over the rows of `index`, of the kind that fits their number.

    The same rows give the same bytes: centres start from `settings.seed`, and the graph of hnsw, which depends on the
    order in which threads meet, is built by one. L1 and modulus have no index of their own: their candidates come by
    Euclidean distance. Raises ConfigError for code_bytes that do not divide the vectors.
    """
    kind = settings.kind_for(len(index))
    use_threads(1 if kind == "hnsw" else index.threads)
    built = _hnsw(index, settings) if kind == "hnsw" else _cells(index, settings, compressed=kind == "pq")
    built.add(index.vectors)
    faiss.write_index(built, str(path))


def load_approximate(path: Path) -> faiss.Index:
    """An index written by `build_approximate`, memory-mapped where its kind can be."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP)


def approximate_top_k(
    index: FlatIndex, found_by: faiss.Index, settings: IndexSettings, queries: np.ndarray, seen: Histories, k: int
) -> Ranking:
    """The k best unseen rows among those that `found_by` finds for each query float32 (B, d); see `top_k`.

    refine · k + |seen| rows are asked for. Queries left with fewer than k unseen rows are ranked exactly.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    seen.check(len(queries), len(index))
    check_finite(queries, "the queries")
    ids = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    wanted = math.ceil(settings.refine * k) + seen.sizes
    depths = np.minimum(2 ** np.ceil(np.log2(wanted)).astype(np.int64), len(index))
    for depth in np.unique(depths):
        of_depth = np.flatnonzero(depths == depth)
        for rows in np.array_split(of_depth, max(1, math.ceil(len(of_depth) * int(depth) / _CELLS))):
            ids[rows], scores[rows] = _best(index, found_by, settings, queries[rows], seen.pick(rows), int(depth), k)
    short = np.flatnonzero(ids[:, -1] < 0)
    if len(short):
        exact = top_k(index, queries[short], seen.pick(short), k)
        ids[short], scores[short] = exact.ids, exact.scores
    return Ranking(ids, scores, (ids >= 0).sum(axis=1))


def _best(
    index: FlatIndex,
    found_by: faiss.Index,
    settings: IndexSettings,
    queries: np.ndarray,
    seen: Histories,
    depth: int,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    use_threads(index.threads)
    _, found = found_by.search(queries, depth, params=_search_parameters(found_by, settings, depth))
    found[seen.contains(found)] = -1
    scores = score_pairs(index, queries, found)
    order = np.lexsort((found, -scores), axis=1)[:, :k]
    ids, scores = (np.take_along_axis(values, order, axis=1) for values in (found, scores))
    missing = k - ids.shape[1]
    return (
        np.pad(ids, ((0, 0), (0, missing)), constant_values=-1),
        np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf),
    )


def _faiss_metric(index: FlatIndex) -> int:
    return faiss.METRIC_INNER_PRODUCT if index.metric == "inner_product" else faiss.METRIC_L2


def _hnsw(index: FlatIndex, settings: IndexSettings) -> faiss.Index:
    built = faiss.IndexHNSWFlat(index.vectors.shape[1], settings.links, _faiss_metric(index))
    built.hnsw.efConstruction = settings.breadth
    return built


def _cells(index: FlatIndex, settings: IndexSettings, compressed: bool) -> faiss.Index:
    rows, width = index.vectors.shape
    cells = min(settings.cells or round(4 * math.sqrt(rows)), rows // _LEAST_POINTS)
    metric = _faiss_metric(index)
    centres = faiss.IndexFlat(width, metric)
    if compressed:
        codes = settings.code_bytes or max(1, width // 4)
        if width % codes:
            raise ConfigError(
                f"recommend.index.code_bytes: {codes} does not divide the vectors' {width} numbers; choose a divisor"
            )
        bits = min(8, int(math.log2(rows // _LEAST_POINTS)))
        built = faiss.IndexIVFPQ(centres, width, cells, codes, bits, metric)
        built.pq.cp.seed = settings.seed
    else:
        built = faiss.IndexIVFFlat(centres, width, cells, metric)
    built.cp.seed, built.cp.max_points_per_centroid = settings.seed, _MOST_POINTS
    built.train(index.vectors)
    return built


def _search_parameters(found_by: faiss.Index, settings: IndexSettings, depth: int) -> faiss.SearchParameters:
    if isinstance(found_by, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=max(settings.breadth, depth))
    return faiss.SearchParametersIVF(nprobe=min(settings.probes or round(math.sqrt(found_by.nlist)), found_by.nlist))
