"""The map of the movies: their vectors on the plane of the two directions in which they differ most (PCA)."""

from dataclasses import dataclass

import numpy as np

from kgspark.report.night_page.movies import PageMovies
from kgspark.report.night_page.night import PageNight
from kgspark.report.night_page.similar import blocks, placed_movies, unit_vectors
from kgspark.tables import LEARNED, SOURCES

# Genres with a colour of their own; the others share one.
COLOURED = 12
# Coordinates are stored as whole numbers up to this one.
_FULL_SCALE = 32_000


@dataclass(frozen=True)
class MovieMap:
    """Points of the movies on the page that have a vector.

    numbers  uint32 (n,): their numbers on the page
    x, y     int16 (n,)
    colours  uint8 (n,): a place among the first `COLOURED` genres of the page, or `COLOURED` for all others
    share    fraction of the variance that the plane shows
    """

    numbers: np.ndarray
    x: np.ndarray
    y: np.ndarray
    colours: np.ndarray
    share: float


def movie_map(night: PageNight, movies: PageMovies) -> MovieMap | None:
    """The map; None for fewer than three movies. The plane is that of the movies with likes."""
    placed = np.zeros(night.movies, bool)
    placed[placed_movies(night)] = True
    numbers = np.flatnonzero(placed[movies.positions])
    if len(numbers) < 3:
        return None
    positions = movies.positions[numbers]
    learned = night.space.item_sources[positions] == SOURCES.index(LEARNED)
    centre, axes, share = _plane(night, positions[learned] if learned.sum() > 2 else positions)
    points = np.concatenate([(unit_vectors(night, block) - centre) @ axes for block in blocks(positions)])
    x, y = (_scaled(points[:, axis]) for axis in (0, 1))
    return MovieMap(numbers.astype(np.uint32), x, y, _colours(movies, numbers), share)


def _plane(night: PageNight, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The mean (d,), the two first principal axes (d, 2), and the share of the variance along them.

    An axis points to where its largest coordinate is positive, so that the map is not mirrored from night to night.
    """
    total, products = np.zeros(()), np.zeros(())
    for block in blocks(positions):
        vectors = unit_vectors(night, block).astype(np.float64)
        total, products = total + vectors.sum(axis=0), products + vectors.T @ vectors
    centre = total / len(positions)
    values, vectors = np.linalg.eigh(products / len(positions) - np.outer(centre, centre))
    axes = vectors[:, [-1, -2]] if len(values) > 1 else np.repeat(vectors, 2, axis=1)
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centre.astype(np.float32), axes.astype(np.float32), float(values[-2:].sum() / max(values.sum(), 1e-12))


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    scaled = (values - (low + high) / 2) / max((high - low) / 2, 1e-12)
    return np.rint(scaled * _FULL_SCALE).astype(np.int16)


def _colours(movies: PageMovies, numbers: np.ndarray) -> np.ndarray:
    """The rarest of a movie's coloured genres, because the frequent ones say little."""
    found = [max((it for it in movies.genres[n] if it < COLOURED), default=COLOURED) for n in numbers.tolist()]
    return np.array(found, np.uint8)
