"""Similar movies: the cosine of the model's vectors, as the table `similar_items` and the reasons have it."""

from collections.abc import Iterator

import numpy as np

from kgspark.report.night_page.night import PageNight
from kgspark.tables import AVERAGE, SOURCES

# Movies with a list of similar ones, and the length of the list.
_MOST_MOVIES, ROWS = 800, 10
# Movies whose vectors are in memory at once.
_BLOCK = 1 << 14


def placed_movies(night: PageNight) -> np.ndarray:
    """Positions int64 of the movies with a vector of their own: all but those of which nothing is known."""
    return np.flatnonzero(night.space.item_sources != SOURCES.index(AVERAGE))


def unit_vectors(night: PageNight, positions: np.ndarray) -> np.ndarray:
    """float32 (n, d): the vectors of movies, each of length 1, without the coordinates that only add to scores."""
    space = night.space
    vectors = np.asarray(space.items[positions, : space.width or None], np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def blocks(positions: np.ndarray) -> Iterator[np.ndarray]:
    """The positions in blocks whose vectors fit in memory."""
    for start in range(0, len(positions), _BLOCK):
        yield positions[start : start + _BLOCK]


def similar_movies(night: PageNight, likes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For the most liked movies: positions (q,), positions (q, ROWS) of the most similar ones, and their cosines.

    A list of fewer rows ends with -1.
    """
    placed = placed_movies(night)
    queries = placed[np.argsort(-likes[placed], kind="stable")[:_MOST_MOVIES]]
    of_queries = unit_vectors(night, queries)
    best = np.full((len(queries), 0), -1, np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for block in blocks(placed):
        cosines = of_queries @ unit_vectors(night, block).T
        cosines[queries[:, None] == block] = -np.inf
        most = min(ROWS, len(block))
        found = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        best = np.concatenate([best, block[found]], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(cosines, found, axis=1)], axis=1)
        order = np.lexsort((best, -scores))[:, :ROWS]
        best, scores = np.take_along_axis(best, order, axis=1), np.take_along_axis(scores, order, axis=1)
    best[scores == -np.inf] = -1
    return queries, best, scores
