"""Every query's exact top K among what it has not seen.

FAISS is asked for k + |seen| + a margin without any selector, which would take it off its fast path; queries are
bucketed by the size of their history, so that one heavy user does not deepen everyone's search. What was seen is
dropped, the rest is scored again by `scores`, and `bounds` says whether a row that was not fetched could still belong
to the list. Where it could (ties, or RotatE's loose bound), those queries are asked again deeper, and in the end
against everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kgspark.histories import Histories
from kgspark.retrieval.bounds import ceilings, check_range
from kgspark.retrieval.index import FlatIndex, check_finite
from kgspark.retrieval.scores import score_all, score_pairs

# Unseen rows fetched beyond k, one search after the other; then everything is scored. A deeper search rarely tightens
# the modulus bound enough, so that metric gets one chance.
_MARGINS = {"inner_product": (16, 256, 4096), "l2": (16, 256, 4096), "l1": (16, 256, 4096), "modulus": (256,)}
# Asking FAISS for more than this share of the index costs more than scoring all of it.
_DEEPEST_SHARE = 0.25
# Histories up to here share a bucket: a search of few queries costs more each than one that is somewhat too deep.
_SMALLEST_BUCKET = 64
# Cells of a (queries, rows) buffer; each costs up to 24 bytes while it is ranked.
_CELLS = 4_000_000
# A table of marks that stays near the caches, and whose pages are soon touched.
_MARK_BYTES = 8_000_000
_NOTHING = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Ranking:
    """Top-K lists: `ids` int64 (B, k) padded with -1, `scores` float32 (B, k) padded with -inf, `counts` int64 (B,)."""

    ids: np.ndarray
    scores: np.ndarray
    counts: np.ndarray


def top_k(index: FlatIndex, queries: np.ndarray, seen: Histories, k: int) -> Ranking:
    """The k best unseen rows of each query float32 (B, d), by falling score and then by rising id.

    Exact: equal to sorting the scores of `score_pairs` over the whole index. A query with fewer than k unseen rows gets
    all of them. The result of a query does not depend on the queries beside it. Raises StageError for vectors that are
    not finite or too large for float32, and for a seen position outside the index; ValueError for wrong shapes.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if k < 1 or queries.ndim != 2 or queries.shape[1] != index.vectors.shape[1]:
        raise ValueError(f"queries {queries.shape} must be (B, {index.vectors.shape[1]}), and k ({k}) at least 1")
    seen.check(len(queries), len(index))
    check_finite(queries, "the queries")
    check_range(index, queries)
    keys = np.full((len(queries), k), _NOTHING)
    for bucket in _buckets(seen.sizes):
        pending = bucket
        for margin in _MARGINS[index.metric]:
            depth = k + int(seen.sizes[bucket].max()) + margin
            if depth > _DEEPEST_SHARE * len(index):
                break
            unsettled = [_fetch(index, queries, seen, part, depth, keys, margin) for part in _parts(pending, depth)]
            pending = np.concatenate([np.empty(0, np.int64), *unsettled])
        for part in _parts(pending, len(index)):
            keys[part] = _scan(index, queries[part], seen.pick(part), k)
    return _unpack(keys)


def _buckets(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Queries whose histories have about the same size: within the same power of two."""
    levels = np.ceil(np.log2(np.maximum(sizes, _SMALLEST_BUCKET)))
    for level in np.unique(levels):
        yield np.flatnonzero(levels == level)


def _parts(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Cuts `rows` so that a buffer of `width` cells a row stays small."""
    step = max(1, _CELLS // max(width, 1))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _fetch(
    index: FlatIndex, queries: np.ndarray, seen: Histories, rows: np.ndarray, depth: int, keys: np.ndarray, margin: int
) -> np.ndarray:
    """Fills `keys[rows]` from FAISS's best `depth`; returns the rows whose list is not proven, to be asked again."""
    k = keys.shape[1]
    asked = queries[rows]
    values, ids = index.search(asked, depth)
    kept, cut = _drop_seen(values, ids, seen.pick(rows), len(index), k + margin)
    scores = score_pairs(index, asked, kept)
    ranked = np.sort(_pack(scores, kept), axis=1)[:, :k]
    keys[rows] = ranked
    settled = _unpack(ranked[:, -1:]).scores[:, 0] > ceilings(index, asked, cut)
    return rows[~settled]


def _drop_seen(
    values: np.ndarray, ids: np.ndarray, seen: Histories, catalogue: int, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `keep` unseen of each row's fetched ids (B, depth), and FAISS's value of the last one considered."""
    unseen = ~_was_seen(ids, seen, catalogue)
    place = np.cumsum(unseen, axis=1, dtype=np.int32)
    row, column = np.nonzero(unseen & (place <= keep))
    kept = np.full((len(ids), keep), -1, dtype=np.int64)
    kept[row, place[row, column] - 1] = ids[row, column]
    last = np.where(place[:, -1] >= keep, np.argmax(place >= keep, axis=1), ids.shape[1] - 1)
    return kept, values[np.arange(len(ids)), last]


def _was_seen(ids: np.ndarray, seen: Histories, catalogue: int) -> np.ndarray:
    """Which of the ids (B, depth) are in their row's history, by marking a bounded table of (rows, catalogue)."""
    found = np.empty(ids.shape, dtype=bool)
    step = max(1, min(len(ids), _MARK_BYTES // catalogue))
    marks = np.zeros((step, catalogue), dtype=bool)
    rows = seen.rows()
    for start in range(0, len(ids), step):
        entries = slice(seen.indptr[start], seen.indptr[min(start + step, len(ids))])
        marked = (rows[entries] - start, seen.indices[entries])
        marks[marked] = True
        part = ids[start : start + step]
        found[start : start + step] = np.take_along_axis(marks[: len(part)], part, axis=1)
        marks[marked] = False
    return found


def top_k_of_scores(scores: np.ndarray, seen: Histories, k: int) -> Ranking:
    """The k best unseen columns of each row of scores float32 (B, N), ordered and padded as in `top_k`."""
    return _unpack(_best_keys(scores, seen, k))


def _scan(index: FlatIndex, queries: np.ndarray, seen: Histories, k: int) -> np.ndarray:
    """Keys uint64 (B, k) of the best unseen rows, from the scores of the whole index."""
    return _best_keys(score_all(index, queries), seen, k)


def _best_keys(scores: np.ndarray, seen: Histories, k: int) -> np.ndarray:
    keys = _pack(scores, np.arange(scores.shape[1])[None, :])
    keys[seen.rows(), seen.indices] = _NOTHING
    if k < scores.shape[1]:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    best = np.full((len(scores), k), _NOTHING)
    best[:, : keys.shape[1]] = np.sort(keys, axis=1)
    return best


def _pack(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """One uint64 that sorts by falling score, then by rising id; all ones where the id is -1.

    The bits of a float32 sort as integers once the sign is handled; NumPy sorts integers several times faster than it
    sorts two keys.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 and 0.0 are the same score
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
    keys = falling.astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    return np.where(ids < 0, _NOTHING, keys)


def _unpack(keys: np.ndarray) -> Ranking:
    filled = keys != _NOTHING
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    scores = np.where(falling >> 31, falling, ~falling & np.uint32(0x7FFFFFFF)).view(np.float32)
    ids = np.where(filled, (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), -1)
    return Ranking(ids, np.where(filled, scores, np.float32(-np.inf)), filled.sum(axis=1))
