"""Every query's exact top K among the rows that it has not seen.

FAISS searches without a selector, because its fast path has none. It returns k + margin rows, plus an estimate, learned
from earlier batches, of the number of already-seen rows at the top. Seen rows are dropped, the others are scored again
by `scores`, and `bounds` checks whether a row that was not fetched could still belong to the list. If it could (more
seen rows at the top than estimated, ties, or RotatE's loose bound), the query is searched again for k + |seen| rows
with a larger margin, and in the end all its rows are scored.

Each thread works on a few hundred queries at a time: their search and everything after it stay in the thread's cache,
and no thread waits for another.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.retrieval.bounds import ceilings, check_range
from kgspark.retrieval.index import FlatIndex, check_finite
from kgspark.retrieval.scores import score_all, score_pairs

# Unseen rows fetched beyond k in the first search, the second and so on; after the last, all rows are scored. A deeper
# search rarely tightens the modulus bound enough, so that metric is searched once.
_MARGINS = {"inner_product": (8, 256, 4096), "l2": (8, 256, 4096), "l1": (16, 256, 4096), "modulus": (256,)}
# Metrics for which a deeper search takes longer, so that an estimate pays off. For the other metrics depth is cheap,
# and only a second search is expensive.
_LEARNING = ("inner_product", "l2")
# Fetching more than this fraction of the index from FAISS takes longer than scoring all of it.
_DEEPEST_FRACTION = 0.25
# Queries with histories up to this size are searched together: a separate search of a few queries takes longer per
# query than a search that is a little too deep.
_SMALLEST_BUCKET = 64
# Queries per search: enough for a matrix product at full speed, and few enough to stay in a core's cache.
_BATCH, _SMALLEST_BATCH = 512, 64
# The same for a search on a device, which works on more of them at once.
_ENGINE_BATCH = 8192
# Cells of the (queries, rows) buffers of all threads together; a cell takes up to 24 bytes.
_CELLS = 4_000_000
# Bytes of the table of marks: small enough to stay close to the caches.
_MARK_BYTES = 8_000_000
_NOTHING = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Ranking:
    """Top-K lists: `ids` int64 (B, k) padded with -1, `scores` float32 (B, k) padded with -inf, `counts` int64 (B,)."""

    ids: np.ndarray
    scores: np.ndarray
    counts: np.ndarray

    @classmethod
    def empty(cls, rows: int, k: int) -> "Ranking":
        """Lists of length k without any row in them."""
        ids, scores = np.full((rows, k), -1, np.int64), np.full((rows, k), -np.inf, np.float32)
        return cls(ids, scores, np.zeros(rows, np.int64))


def top_k(index: FlatIndex, queries: np.ndarray, seen: Histories, k: int) -> Ranking:
    """The k best unseen rows of each query float32 (B, d), by falling score and then by rising id.

    The result is exact: equal to sorting the scores of `score_pairs` over the whole index. A query with fewer than k
    unseen rows gets all of them. The result of a query does not depend on the other queries. Raises
    StageError for vectors that are not finite or too large for float32, and for a seen position outside the index;
    ValueError for wrong shapes.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if k < 1 or queries.ndim != 2 or queries.shape[1] != index.vectors.shape[1]:
        raise ValueError(f"queries {queries.shape} must be (B, {index.vectors.shape[1]}), and k ({k}) at least 1")
    seen.check(len(queries), len(index))
    check_finite(queries, "the queries")
    check_range(index, queries)
    call = _Call(index.on_one_core, queries, seen, np.full((len(queries), k), _NOTHING))
    margins = _MARGINS[index.metric]
    expected = _Expected(learns=index.metric in _LEARNING)
    pending = np.arange(len(queries))
    for margin in margins:
        parts = _parts(pending, seen.sizes, k + margin, index)
        unsettled = _spread(partial(_fetch, call, margin, expected), parts, index.threads)
        pending = np.concatenate([np.empty(0, np.int64), *unsettled])
        expected = _Expected(learns=False)
    _spread(partial(_scan, call), _cut(pending, len(index), index.threads), index.threads)
    return unpack(call.keys)


@dataclass(frozen=True)
class _Call:
    """The arguments of one call of `top_k`, and the keys uint64 (B, k) of the lists found so far."""

    index: FlatIndex
    queries: np.ndarray
    seen: Histories
    keys: np.ndarray


class _Expected:
    """An estimate of how many seen rows rank at the top: first all of them, later learned from earlier searches.

    Queries with small histories come first, because a poor estimate costs little there. All threads share the estimate.
    It decides the depth of a search, and never changes a result.
    """

    # Histories of fewer rows are no evidence of the fraction that larger ones have at the top.
    _telling = 32
    # The estimate is generous, because a second search takes longer than a deeper one.
    _quantile, _slack, _spare = 0.98, 1.25, 16

    def __init__(self, learns: bool) -> None:
        self._learns = learns
        self._fraction = 1.0

    def rows(self, sizes: np.ndarray) -> int:
        """Rows to fetch beyond k and the margin, for histories of these sizes int64 (B,), B ≥ 1."""
        largest = int(sizes.max())
        return min(largest, self._spare + int(self._slack * self._fraction * largest))

    def learn(self, sizes: np.ndarray, found: np.ndarray) -> None:
        """Learns from a search: `found` int64 (B,) rows, of histories of `sizes` int64 (B,), ranked above the cuts."""
        telling = sizes >= self._telling
        if self._learns and telling.any():
            self._fraction = float(np.quantile(found[telling] / sizes[telling], self._quantile))


def _spread(work: Callable[[np.ndarray], np.ndarray], parts: Iterable[np.ndarray], threads: int) -> list[np.ndarray]:
    """The results of the parts, in order. Threads help, since NumPy and FAISS release the interpreter's lock."""
    if threads == 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def _parts(rows: np.ndarray, sizes: np.ndarray, unseen: int, index: FlatIndex) -> Iterator[np.ndarray]:
    """Cuts `rows` into searches for `unseen` rows besides the seen ones, small histories first.

    Above the smallest bucket, no history of a search is more than twice as long as another.
    """
    rows = rows[np.argsort(sizes[rows], kind="stable")]
    levels = np.ceil(np.log2(np.maximum(sizes[rows], _SMALLEST_BUCKET)))
    for bucket in np.split(rows, np.flatnonzero(np.diff(levels)) + 1):
        if len(bucket):
            depth = min(unseen + int(sizes[bucket[-1]]), int(_DEEPEST_FRACTION * len(index)))
            yield from _cut(bucket, depth, index.threads, _BATCH if index.engine is None else _ENGINE_BATCH)


def _cut(rows: np.ndarray, width: int, threads: int, batch: int = _BATCH) -> Iterator[np.ndarray]:
    """Cuts `rows` evenly: buffers of `width` cells per row stay small, and every thread gets a part."""
    most = max(1, min(batch, _CELLS // threads // max(width, 1)))
    least = max(1, min(_SMALLEST_BATCH, most))
    count = min(-(-len(rows) // (most * threads)) * threads, -(-len(rows) // least))
    yield from np.array_split(rows, max(count, -(-len(rows) // most))) if len(rows) else ()


def _fetch(call: _Call, margin: int, expected: _Expected, rows: np.ndarray) -> np.ndarray:
    """Finds the lists of `rows` among FAISS's best; returns the rows whose list is not proven exact."""
    index, k = call.index, call.keys.shape[1]
    seen = call.seen.pick(rows)
    depth = k + margin + expected.rows(seen.sizes)
    if depth > _DEEPEST_FRACTION * len(index):
        return rows
    queries = call.queries[rows]
    values, ids = index.search(queries, depth)
    kept, last = _drop_seen(ids, seen, len(index), k + margin)
    expected.learn(seen.sizes, last + 1 - (kept >= 0).sum(axis=1))
    ranked = np.sort(pack(score_pairs(index, queries, kept), kept), axis=1)[:, :k]
    call.keys[rows] = ranked
    cut = values[np.arange(len(rows)), last]
    settled = unpack(ranked[:, -1:]).scores[:, 0] > ceilings(index, queries, cut)
    return rows[~settled]


def _drop_seen(ids: np.ndarray, seen: Histories, catalogue: int, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Drops seen ids from each row's fetched ids (B, depth), best first.

    Returns the first `keep` unseen ids of each row, int64 (B, keep) padded with -1, and the column of the last of them,
    int64 (B,); that is the last column if fewer than `keep` are unseen.
    """
    unseen = ~_was_seen(ids, seen, catalogue)
    counts = np.count_nonzero(unseen, axis=1)
    begins = np.cumsum(counts) - counts
    flat = np.append(np.flatnonzero(unseen), 0)  # positions of unseen ids; the last one pads rows with too few
    picked = flat[np.minimum(begins[:, None] + np.arange(keep), len(flat) - 1)]
    kept = np.where(np.arange(keep) < counts[:, None], ids.ravel()[picked], -1)
    depth = ids.shape[1]
    return kept, np.where(counts >= keep, picked[:, -1] - np.arange(len(ids)) * depth, depth - 1)


def _was_seen(ids: np.ndarray, seen: Histories, catalogue: int) -> np.ndarray:
    """Mask bool (B, depth) of the ids (B, depth) that are in the history of their row.

    Histories are marked in a table (rows, catalogue) of bounded size, for some rows at a time.
    """
    found = np.empty(ids.shape, dtype=bool)
    step = max(1, min(len(ids), _MARK_BYTES // catalogue))
    marks = np.zeros(step * catalogue, dtype=bool)
    begins = np.arange(step)[:, None] * catalogue
    for start in range(0, len(ids), step):
        rows = slice(start, min(start + step, len(ids)))
        entries = slice(seen.indptr[rows.start], seen.indptr[rows.stop])
        part = begins[: rows.stop - rows.start]
        marked = np.repeat(part[:, 0], seen.sizes[rows]) + seen.indices[entries]
        marks[marked] = True
        np.take(marks, ids[rows] + part, out=found[rows], mode="clip")  # raise, the default, would copy `out`
        marks[marked] = False
    return found


def top_k_of_scores(scores: np.ndarray, seen: Histories, k: int) -> Ranking:
    """The k best unseen columns of each row of scores float32 (B, N), ordered and padded as in `top_k`."""
    return unpack(_best_keys(scores, seen, k))


def _scan(call: _Call, rows: np.ndarray) -> np.ndarray:
    """Finds the lists of `rows` from the scores of the whole index; returns `rows`."""
    scores = score_all(call.index, call.queries[rows])
    call.keys[rows] = _best_keys(scores, call.seen.pick(rows), call.keys.shape[1])
    return rows


def _best_keys(scores: np.ndarray, seen: Histories, k: int) -> np.ndarray:
    keys = pack(scores, np.arange(scores.shape[1])[None, :])
    keys[seen.rows(), seen.indices] = _NOTHING
    if k < scores.shape[1]:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    best = np.full((len(scores), k), _NOTHING)
    best[:, : keys.shape[1]] = np.sort(keys, axis=1)
    return best


def pack(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Keys uint64, of the broadcast shape, that sort by falling score, then by rising id; all ones if the id is -1.

    The bits of a float32 sort as integers once the sign is handled; NumPy sorts integers several times faster than it
    sorts by two keys.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 and 0.0 are the same score
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
    keys = falling.astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    return np.where(ids < 0, _NOTHING, keys)


def unpack(keys: np.ndarray) -> Ranking:
    """The lists of sorted keys (B, k): the inverse of `pack`."""
    filled = keys != _NOTHING
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    scores = np.where(falling >> 31, falling, ~falling & np.uint32(0x7FFFFFFF)).view(np.float32)
    ids = np.where(filled, (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), -1)
    return Ranking(ids, np.where(filled, scores, np.float32(-np.inf)), filled.sum(axis=1))
