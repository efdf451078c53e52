"""Synthetic ratings of any size: a world with long tails and a planted structure, drawn in blocks of users.

Each movie has one genre, and the popularity of movies falls as 1 / (r + q)^s with the rank r (Zipf–Mandelbrot). The
number of a user's ratings is lognormal. Half of a user's ratings are drawn from a first genre, a quarter from a second
genre, which the user comes to prefer over the years, and the others from all genres; a movie that is drawn twice is
replaced by another draw. Ratings are highest in the first genre, and lowest in the other genres. The result resembles
MovieLens 25M, and the true taste of each user is known: see `taste`.

A block depends on (seed, block) alone, so it is the same in any process and any order.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from pydantic import Field, model_validator

from kgspark.config import Settings

# The genres of MovieLens, without "(no genres listed)".
GENRES = (
    "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "IMAX", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_BLOCK_USERS = 4096
# Exponent s of a movie's popularity, and q as a fraction of the catalogue, so that no movie is rated by all users.
_ZIPF_EXPONENT, _ZIPF_OFFSET = 1.1, 1 / 3000
# The lognormal number of a user's ratings: its spread, and its upper limit as a multiple of the median.
_ACTIVITY_SPREAD, _ACTIVITY_LIMIT = 1.1, 40.0
# Fractions of a user's ratings that go to the first genre, and to the first or second.
_FIRST, _FIRST_OR_SECOND = 0.5, 0.75
# Pairs drawn per missing pair: the surplus replaces pairs that are drawn twice.
_SURPLUS = 1.3
# After this many rounds the likely movies are used up, so any movie is drawn.
_ROUNDS_BY_TASTE = 4
# MovieLens began in 1996; each user rates for up to two years.
_FIRST_SECOND, _LAST_SECOND, _SPAN = 820_454_400, 1_600_000_000, 63_072_000


class SyntheticSettings(Settings):
    """The numbers of ratings, users and movies, and the seed."""

    ratings: int = Field(25_000_000, ge=1, description="distinct pairs of user and movie")
    users: int = Field(162_000, ge=1, description="number of users, some of whom may have no rating")
    movies: int = Field(59_000, ge=1, description="number of movies, some of which may have no rating")
    seed: int = Field(42, ge=0, description="seed of all random draws")

    @model_validator(mode="after")
    def _there_is_room(self) -> "SyntheticSettings":
        if 2 * self.ratings > self.users * self.movies:
            raise ValueError("ratings must leave half of all pairs of user and movie free")
        return self


@dataclass(frozen=True)
class Ratings:
    """Ratings of a block, by user and then by movie, each pair once.

    users, movies  int64 (n,), counted from 0
    stars          int8 (n,), half stars, 1 to 10
    times          int64 (n,), seconds since 1970
    """

    users: np.ndarray
    movies: np.ndarray
    stars: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class SyntheticWorld:
    """The world that the settings describe. Arrays of movies are computed at their first use and cached."""

    settings: SyntheticSettings

    @property
    def blocks(self) -> int:
        """Number of blocks of users, all of about the same size."""
        return -(-self.settings.users // _BLOCK_USERS)

    def block_users(self, block: int) -> tuple[int, int]:
        """First user of a block, and first user after it."""
        users = self.settings.users
        return block * users // self.blocks, (block + 1) * users // self.blocks

    def block_weight(self, block: int) -> float:
        """Sum of the activity of the block's users, to which its number of ratings is proportional."""
        return float(self._activity(block).sum())

    def block_sizes(self, weights: np.ndarray) -> np.ndarray:
        """Number of ratings of each block, int64 (blocks,), by the blocks' weights; their sum is `settings.ratings`."""
        return _apportion(weights, self.settings.ratings)

    @cached_property
    def genres(self) -> np.ndarray:
        """int64 (movies,): each movie's genre, a position in `GENRES`."""
        return self._generator(0, 0).integers(len(GENRES), size=self.settings.movies)

    @cached_property
    def quality(self) -> np.ndarray:
        """float64 (movies,): difference between a movie's ratings and those of other movies, in stars."""
        return 0.4 * self._generator(0, 1).standard_normal(self.settings.movies)

    @cached_property
    def years(self) -> np.ndarray:
        """int64 (movies,): each movie's year of release."""
        return 2019 - np.minimum(self._generator(0, 2).exponential(15, self.settings.movies).astype(np.int64), 99)

    @cached_property
    def _by_genre(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Movies sorted by genre, the running sum of their popularities, and the bounds of each genre."""
        count = self.settings.movies
        ranks = self._generator(0, 3).permutation(count)  # popularity must not follow the index
        order = np.argsort(self.genres, kind="stable")
        sums = np.cumsum((ranks[order] + 1 + count * _ZIPF_OFFSET) ** -_ZIPF_EXPONENT)
        return order, sums, np.searchsorted(self.genres[order], np.arange(len(GENRES) + 1))

    def taste(self, block: int) -> np.ndarray:
        """int64 (users of the block, 2): first and second genre."""
        start, stop = self.block_users(block)
        return self._generator(1, block).integers(len(GENRES), size=(stop - start, 2))

    def ratings(self, block: int, size: int) -> Ratings:
        """`size` ratings of a block's users."""
        start, stop = self.block_users(block)
        wanted = _cap(_apportion(self._activity(block), size), self.settings.movies)
        generator = self._generator(2, block)
        keys = self._pairs(generator, wanted, self.taste(block))
        users, movies = np.divmod(keys, self.settings.movies)
        closeness = self._closeness(users, movies, self.taste(block))
        return Ratings(
            users + start,
            movies,
            self._stars(generator, users, movies, closeness, stop - start),
            _times(generator, users, closeness, stop - start),
        )

    def all_ratings(self) -> Ratings:
        """Every rating of the world, by user and then by movie, drawn in this process."""
        sizes = self.block_sizes(np.array([self.block_weight(block) for block in range(self.blocks)]))
        drawn = [self.ratings(block, int(size)) for block, size in enumerate(sizes)]
        return Ratings(*(np.concatenate([getattr(part, field.name) for part in drawn]) for field in fields(Ratings)))

    def _activity(self, block: int) -> np.ndarray:
        start, stop = self.block_users(block)
        drawn = self._generator(3, block).lognormal(sigma=_ACTIVITY_SPREAD, size=stop - start)
        return np.minimum(drawn, _ACTIVITY_LIMIT)

    def _generator(self, use: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, use, number])

    def _pairs(self, generator: np.random.Generator, wanted: np.ndarray, taste: np.ndarray) -> np.ndarray:
        """Keys user · movies + movie, int64, ascending: `wanted` (users,) distinct movies per user."""
        count = self.settings.movies
        keys, rounds = np.zeros(0, np.int64), 0
        while (missing := wanted - np.bincount(keys // count, minlength=len(wanted))).any():
            users = np.repeat(np.arange(len(wanted)), np.ceil(missing * _SURPLUS).astype(np.int64))
            drawn = self._movies(generator, taste[users], likely=rounds < _ROUNDS_BY_TASTE)
            fresh = _sort_distinct(users * count + drawn)
            fresh = fresh[~_occur_in(fresh, keys)]
            # The surplus of a user is removed at random: in the order of movies, it would always be the last ones.
            order = np.lexsort((generator.random(len(fresh)), fresh // count))
            owners = fresh[order] // count
            nth = np.arange(len(owners)) - np.searchsorted(owners, np.arange(len(wanted)))[owners]
            keys = np.sort(np.concatenate([keys, fresh[order][nth < missing[owners]]]))
            rounds += 1
        return keys

    def _movies(self, generator: np.random.Generator, taste: np.ndarray, likely: bool) -> np.ndarray:
        """One movie per row of `taste` (n, 2): by genre and popularity if `likely`, else any movie."""
        if not likely:
            return generator.integers(self.settings.movies, size=len(taste))
        order, sums, edges = self._by_genre
        kind = generator.random(len(taste))
        genre = np.where(kind < _FIRST, taste[:, 0], taste[:, 1])
        of_any = kind >= _FIRST_OR_SECOND
        low = np.where(of_any, 0, edges[genre])
        high = np.where(of_any, len(order), edges[genre + 1])
        of_any |= low == high  # a small catalogue may lack a genre
        low, high = np.where(of_any, 0, low), np.where(of_any, len(order), high)
        before = np.concatenate([[0.0], sums])
        at = before[low] + generator.random(len(taste)) * (before[high] - before[low])
        return order[np.clip(np.searchsorted(sums, at, side="right"), low, high - 1)]

    def _closeness(self, users: np.ndarray, movies: np.ndarray, taste: np.ndarray) -> np.ndarray:
        """float64 (n,): 1 for a movie of the user's first genre, ½ for the second genre, 0 for other genres."""
        genre = self.genres[movies]
        return np.select([genre == taste[users, 0], genre == taste[users, 1]], [1.0, 0.5], 0.0)

    def _stars(
        self, generator: np.random.Generator, users: np.ndarray, movies: np.ndarray, closeness: np.ndarray, count: int
    ) -> np.ndarray:
        mood = 0.4 * generator.standard_normal(count)
        stars = 3.1 + closeness + self.quality[movies] + mood[users] + 0.7 * generator.standard_normal(len(users))
        return np.clip(np.rint(2 * stars), 1, 10).astype(np.int8)


def _apportion(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers (n,) in proportion to the weights, with the sum `total`."""
    reached = np.cumsum(weights)
    return np.diff(np.rint(reached / reached[-1] * total).astype(np.int64), prepend=0)


def _sort_distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values, sorted. NumPy's `unique` hashes first, which takes ten times as long here."""
    values = np.sort(values)
    return values[np.diff(values, prepend=values[:1] - 1) > 0]


def _occur_in(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """bool (n,): True for the values that occur in `ascending`."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    return ascending[np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)] == values


def _cap(counts: np.ndarray, most: int) -> np.ndarray:
    """The counts limited to `most`; the surplus is added to smaller counts."""
    counts = counts.copy()
    surplus = int(np.maximum(counts - most, 0).sum())
    counts = np.minimum(counts, most)
    while surplus:
        below = np.flatnonzero(counts < most)[:surplus]
        given = min(surplus // len(below), int((most - counts[below]).min()))
        counts[below] += max(given, 1)
        surplus -= max(given, 1) * len(below)
    return counts


def _times(generator: np.random.Generator, users: np.ndarray, closeness: np.ndarray, count: int) -> np.ndarray:
    """Seconds since 1970: each user begins at some time, and rates the first genre earlier than the second."""
    begun = generator.integers(_FIRST_SECOND, _LAST_SECOND, size=count)
    turned = np.select([closeness == 1.0, closeness == 0.5], [0.0, 0.5], 0.25)
    return begun[users] + ((turned + 0.5 * generator.random(len(users))) * _SPAN).astype(np.int64)
