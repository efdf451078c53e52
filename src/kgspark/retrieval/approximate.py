"""Approximate FAISS indexes: built once per night, loaded by every worker. All rows that they find are scored again.

An index only finds candidates. Their scores come from `scores`, and a query with too few unseen candidates is ranked
exactly. So lists are as long, as well ordered and as free of seen rows as those of the flat index; an approximate index
can only lose recall, which `Recall` measures.

Each kind of index has one record in `KINDS` and one name in `settings.Kind`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from kgspark.errors import ConfigError
from kgspark.graph.histories import Histories
from kgspark.retrieval.index import FlatIndex, check_finite, use_threads
from kgspark.retrieval.scores import score_pairs
from kgspark.retrieval.settings import IndexSettings, Kind
from kgspark.retrieval.topk import Ranking, top_k

# Cells of a (queries, candidates) buffer.
_CELLS = 4_000_000
# FAISS learns a centre from this many points at most, and warns if it has fewer than the second number.
_MOST_POINTS, _LEAST_POINTS = 256, 39


@dataclass
class Recall:
    """Number of rows in the exact lists of a sample of queries (listed), and how many of these were found (found)."""

    listed: int = 0
    found: int = 0

    def count(self, exact: Ranking, written: Ranking) -> None:
        """Adds two rankings of the same queries, (B, k) each."""
        wanted = Histories.from_sizes(exact.counts, exact.ids[exact.ids >= 0])
        self.listed += len(wanted.indices)
        self.found += int(wanted.contains(written.ids).sum())


def build_approximate(path: Path, index: FlatIndex, settings: IndexSettings) -> None:
    """Writes an approximate index over the rows of `index` to `path`, of the kind `settings.kind_for(len(index))`.

    The same rows give the same bytes: centres start from `settings.seed`, and one thread builds the kinds whose result
    depends on the order in which threads run. FAISS has no approximate index for l1 and modulus; their candidates are
    found by Euclidean distance. Raises ConfigError for code_bytes that do not divide the width of the vectors.
    """
    kind = KINDS[settings.kind_for(len(index))]
    use_threads(1 if kind.built_by_one_thread else index.threads)
    built = kind.train(index, settings)
    built.add(index.vectors)
    faiss.write_index(built, str(path))


def load_approximate(path: Path) -> faiss.Index:
    """An index that `build_approximate` wrote, memory-mapped if its kind allows it."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP)


def approximate_top_k(
    index: FlatIndex, found_by: faiss.Index, settings: IndexSettings, queries: np.ndarray, seen: Histories, k: int
) -> Ranking:
    """The k best unseen rows among those that `found_by` finds for each query float32 (B, d); see `top_k`.

    FAISS returns refine · k + |seen| rows, rounded up to a power of two. A query with fewer than k unseen rows among
    them is ranked exactly.
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
    """Ids int64 and scores float32, both (B, k) and padded, of the best unseen rows among `depth` candidates."""
    use_threads(index.threads)
    parameters = KINDS[settings.kind_for(len(index))].parameters(found_by, settings, depth)
    _, found = found_by.search(queries, depth, params=parameters)
    found[seen.contains(found)] = -1
    scores = score_pairs(index, queries, found)
    order = np.lexsort((found, -scores), axis=1)[:, :k]
    ids, scores = (np.take_along_axis(values, order, axis=1) for values in (found, scores))
    missing = k - ids.shape[1]
    return (
        np.pad(ids, ((0, 0), (0, missing)), constant_values=-1),
        np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf),
    )


@dataclass(frozen=True)
class IndexKind:
    """A kind of approximate index.

    train       returns an index, without rows yet, that has learned what it needs from the rows of the flat index
    parameters  returns FAISS's search parameters for `depth` rows: (index, settings, depth) -> parameters
    built_by_one_thread  whether rows must be added by one thread to give the same bytes each time
    """

    train: Callable[[FlatIndex, IndexSettings], faiss.Index]
    parameters: Callable[[faiss.Index, IndexSettings, int], faiss.SearchParameters]
    built_by_one_thread: bool = False


def _ivf(index: FlatIndex, settings: IndexSettings) -> faiss.Index:
    """Cells of whole vectors."""
    width, metric = index.vectors.shape[1], _faiss_metric(index)
    built = faiss.IndexIVFFlat(faiss.IndexFlat(width, metric), width, _cells(index, settings), metric)
    return _train(built, index, settings)


def _pq(index: FlatIndex, settings: IndexSettings) -> faiss.Index:
    """Cells of compressed vectors: `code_bytes` codes per vector, of 8 bits each if there are enough rows."""
    (rows, width), metric = index.vectors.shape, _faiss_metric(index)
    codes = settings.code_bytes or max(1, width // 4)
    if width % codes:
        raise ConfigError(
            f"recommend.index.code_bytes: {codes} does not divide the vectors' {width} numbers; choose a divisor"
        )
    bits = min(8, int(math.log2(rows // _LEAST_POINTS)))
    built = faiss.IndexIVFPQ(faiss.IndexFlat(width, metric), width, _cells(index, settings), codes, bits, metric)
    built.pq.cp.seed = settings.seed
    return _train(built, index, settings)


def _hnsw(index: FlatIndex, settings: IndexSettings) -> faiss.Index:
    """A graph of neighbours; it needs no training before rows are added."""
    built = faiss.IndexHNSWFlat(index.vectors.shape[1], settings.links, _faiss_metric(index))
    built.hnsw.efConstruction = settings.breadth
    return built


def _faiss_metric(index: FlatIndex) -> int:
    return faiss.METRIC_INNER_PRODUCT if index.metric == "inner_product" else faiss.METRIC_L2


def _cells(index: FlatIndex, settings: IndexSettings) -> int:
    rows = len(index)
    return min(settings.cells or round(4 * math.sqrt(rows)), rows // _LEAST_POINTS)


def _train(built: faiss.IndexIVF, index: FlatIndex, settings: IndexSettings) -> faiss.Index:
    built.cp.seed, built.cp.max_points_per_centroid = settings.seed, _MOST_POINTS
    built.train(index.vectors)
    return built


def _cell_parameters(found_by: faiss.IndexIVF, settings: IndexSettings, _: int) -> faiss.SearchParameters:
    return faiss.SearchParametersIVF(nprobe=min(settings.probes or round(math.sqrt(found_by.nlist)), found_by.nlist))


def _graph_parameters(_: faiss.Index, settings: IndexSettings, depth: int) -> faiss.SearchParameters:
    return faiss.SearchParametersHNSW(efSearch=max(settings.breadth, depth))


KINDS: dict[Kind, IndexKind] = {
    "ivf": IndexKind(_ivf, _cell_parameters),
    "pq": IndexKind(_pq, _cell_parameters),
    "hnsw": IndexKind(_hnsw, _graph_parameters, built_by_one_thread=True),
}
