"""The reason of a recommendation: the liked movie that is most similar to the recommended one."""

from collections.abc import Iterator

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.retrieval.index import row_norms

# Largest number of floats in the gathered vectors of a batch of users.
_FLOATS = 8_000_000


def nearest_liked(items: np.ndarray, recommended: np.ndarray, liked: Histories, longest: int = 512) -> np.ndarray:
    """For every recommended movie, the user's liked movie with the largest cosine to it in item space.

    items        float32 (M, d)
    recommended  int64 (B, k): positions of items, padded with -1
    liked        positions of items, one list per user; only the first `longest` entries of a list count

    Returns positions int64 (B, k), -1 where nothing was recommended or liked. Among equal cosines, the first of the
    list wins. Raises StageError for a liked position outside [0, M).
    """
    liked.check(len(recommended), len(items))
    norms = row_norms(items)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
    nearest = np.full(recommended.shape, -1, dtype=np.int64)
    sizes = np.minimum(liked.sizes, longest)
    for rows, width in _padded_groups(sizes, recommended.shape[1], items.shape[1]):
        choices = _pad(liked, rows, sizes[rows], width)
        # The norm of the recommended movie is the same for all choices, so only the norms of the liked movies matter.
        similarity = items[np.maximum(recommended[rows], 0)] @ items[np.maximum(choices, 0)].transpose(0, 2, 1)
        similarity *= scale[np.maximum(choices, 0)][:, None, :]
        similarity[np.broadcast_to((choices < 0)[:, None, :], similarity.shape)] = -np.inf
        nearest[rows] = np.take_along_axis(choices, similarity.argmax(axis=2), axis=1)
    nearest[recommended < 0] = -1
    return nearest


def _padded_groups(sizes: np.ndarray, k: int, dimensions: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of users with at least one like, and the width of their padded lists: the next power of two.

    The width, and so the rounding of a user's products, depends on nothing but the user's own list.
    """
    widths = 2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    for width in np.unique(widths[sizes > 0]):
        rows = np.flatnonzero((widths == width) & (sizes > 0))
        step = max(1, _FLOATS // ((k + int(width)) * dimensions + k * int(width)))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], int(width)


def _pad(liked: Histories, rows: np.ndarray, sizes: np.ndarray, width: int) -> np.ndarray:
    """The first `sizes` entries of the rows' lists, int64 (R, width), padded with -1."""
    padded = np.full((len(rows), width), -1, dtype=np.int64)
    inside = np.arange(width) < sizes[:, None]
    padded[inside] = liked.indices[(liked.indptr[rows, None] + np.arange(width))[inside]]
    return padded
