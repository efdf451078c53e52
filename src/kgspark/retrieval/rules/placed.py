"""The movies that rules place themselves: pinned ones, and a draw of those with few ratings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.retrieval.pools import rows_among
from kgspark.retrieval.rules.caps import Caps

# Movies of a user's draw that are looked at in the first step; each step looks at four times as many.
_FIRST = 32
_CELLS = 4_000_000


@dataclass(frozen=True)
class MoviesOfUsers:
    """Movies for some users: `movies` int64 (n,), in order; `users` int64, the users' positions, sorted; None: all."""

    movies: np.ndarray
    users: np.ndarray | None = None

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """The rows of `positions` int64 (B,) whose user these movies are for, int64."""
        return rows_among(self.users, positions)


def pinned(lists: Sequence[MoviesOfUsers], positions: np.ndarray, seen: Histories, k: int) -> np.ndarray:
    """Each user's pinned movies that the user has not seen, in order, at most k: int64 (B, n), padded with -1."""
    width = max((len(each.movies) for each in lists), default=0)
    found = np.full((len(positions), width), -1, np.int64)
    for each in lists:
        rows = each.rows(positions)
        offered = np.broadcast_to(each.movies, (len(rows), len(each.movies)))
        unseen = np.where(seen.pick(rows).contains(offered), -1, offered)
        found[rows, : unseen.shape[1]] = unseen
    return to_the_left(found)[:, :k]


def to_the_left(ids: np.ndarray) -> np.ndarray:
    """The lists `ids` int64 (B, n) in their order, without the gaps (-1) before their last movie."""
    return np.take_along_axis(ids, np.argsort(ids < 0, axis=1, kind="stable"), axis=1)


@dataclass(frozen=True)
class Draw:
    """A draw of few-rated movies, the same for the same user, seed and date.

    Each user's order is t -> movies[(a · t + b) mod p], for a prime p of at least the number of movies, and a and b
    from a hash of the user; places beyond the movies are passed over. So no movie comes twice, and all of them come.
    The movies stand in an order of their own hash.
    """

    lists: Sequence[MoviesOfUsers]
    seed: int

    def take(
        self,
        positions: np.ndarray,
        taken: Histories,
        need: np.ndarray,
        caps: Caps | None,
        counts: np.ndarray | None,
    ) -> np.ndarray:
        """The first movies of each user's order that are not `taken` and have room, int64 (B, n), padded with -1.

        need    int64 (B,): the most movies of each user
        counts  of `caps`, changed in place; None without caps
        """
        drawn = np.full((len(positions), int(need.max(initial=0))), -1, np.int64)
        for each in self.lists:
            rows = each.rows(positions)
            rows = rows[need[rows] > 0]
            start, width = 0, _FIRST
            while len(rows) and start < _prime(len(each.movies)):
                for part in np.array_split(rows, -(-len(rows) * width // _CELLS)):
                    self._step(
                        each.movies, positions, part, range(start, start + width), taken, need, drawn, (caps, counts)
                    )
                rows = rows[(drawn[rows] >= 0).sum(axis=1) < need[rows]]
                start, width = start + width, 4 * width
        return drawn

    def _step(
        self,
        movies: np.ndarray,
        positions: np.ndarray,
        rows: np.ndarray,
        steps: range,
        taken: Histories,
        need: np.ndarray,
        drawn: np.ndarray,
        room: tuple[Caps | None, np.ndarray | None],
    ) -> None:
        ids = self._order(movies, positions[rows], steps)
        ids = np.where(taken.pick(rows).contains(ids), -1, ids)
        had = (drawn[rows] >= 0).sum(axis=1)
        caps, counts = room
        if caps is None or counts is None:
            kept = (ids >= 0) & (np.cumsum(ids >= 0, axis=1) <= (need[rows] - had)[:, None])
        else:
            part = counts[rows]
            kept = caps.take(part, ids, need[rows] - had)
            counts[rows] = part
        row, column = np.nonzero(kept)
        place = (had[:, None] + np.cumsum(kept, axis=1) - 1)[row, column]
        drawn[rows[row], place] = ids[row, column]

    def _order(self, movies: np.ndarray, users: np.ndarray, steps: range) -> np.ndarray:
        """The movies of the `steps` of each user's order, int64 (B, n); -1 for a place beyond the movies."""
        prime = _prime(len(movies))
        first, second = (hashed(users, self.seed + shift) for shift in (0, 1))
        a = 1 + (first % np.uint64(max(prime - 1, 1))).astype(np.int64)
        b = (second % np.uint64(prime)).astype(np.int64)
        t = np.arange(steps.start, min(steps.stop, prime))
        places = (a[:, None] * t + b[:, None]) % prime
        inside = places < len(movies)
        return np.where(inside, movies[np.where(inside, places, 0)], -1)


def in_order_of_hash(movies: np.ndarray, seed: int) -> np.ndarray:
    """The positions `movies` int64 (n,) in an order that looks random, and is the same for the same seed."""
    return movies[np.lexsort((movies, hashed(movies, seed + 2)))]


def hashed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """A hash uint64 of each number int64 and the seed: the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = numbers.astype(np.uint64) + np.uint64(seed % 2**64) * np.uint64(0xD1342543DE82EF95)
        x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def seed_of(seed: int, date: str) -> int:
    """The seed of a date, YYYY-MM-DD."""
    return (seed * 100_000_000 + int(date.replace("-", ""))) * 4


def _prime(least: int) -> int:
    """The smallest prime of at least `least`, and 2 for less; found by trial, in √least steps each."""
    number = max(2, least)
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number += 1
    return number
