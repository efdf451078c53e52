"""Baselines that follow the time: what is popular of late, and what is liked after a user's latest like."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.peers.baselines import Likes
from kgspark.peers.popularity import Popularity

_RECENT_SECONDS = 30 * 86_400


@dataclass(frozen=True)
class MarkovChain:
    """Score of movie m: number of users who liked m right after the movie that this user liked last.

    Equal numbers are in the order of popularity, and so is the whole list of a user without a like.

    latest      the movie that each user liked last, int64 (U,); -1 without a like
    follows     sparse float32 (M, M): how often the column's movie was liked right after the row's
    popularity  float32 (M,) in [0, 1), rising with the number of likes
    """

    latest: np.ndarray
    follows: csr_matrix
    popularity: np.ndarray

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M)."""
        scores = np.tile(self.popularity, (len(users), 1))
        having = np.flatnonzero(self.latest[users] >= 0)
        scores[having] += self.follows[self.latest[users[having]]].toarray()
        return scores


def fit_popularity(likes: Likes) -> Popularity:
    """Scores a movie by its likes of the 30 days before the latest like; equal ones by those of all time.

    Raises StageError for likes without times.
    """
    by_user, times = likes.by_user, _times(likes.by_user, "popularity-30d")
    recent = times > times.max(initial=0) - _RECENT_SECONDS
    return Popularity(_in_order(by_user.where(recent).counts(likes.movies), by_user.counts(likes.movies)))


def fit_markov_chain(likes: Likes) -> MarkovChain:
    """A Markov chain of the first order over each user's likes (the baseline MC of Ludewig and Jannach 2018).

    Likes of one second are in the order of the movies. Raises StageError for likes without times.
    """
    by_user, movies = likes.by_user, likes.movies
    rows = by_user.rows()
    in_time = by_user.indices[np.lexsort((by_user.indices, _times(by_user, "markov-chain"), rows))]
    pairs = rows[1:] == rows[:-1]  # the places whose next like is of the same user
    entries = np.ones(pairs.sum(), np.float32), (in_time[:-1][pairs], in_time[1:][pairs])
    latest = np.full(len(by_user), -1, np.int64)
    having = by_user.sizes > 0
    latest[having] = in_time[by_user.indptr[1:][having] - 1]
    order = _in_order(by_user.counts(movies))
    return MarkovChain(latest, csr_matrix(entries, shape=(movies, movies)), order / np.float32(movies + 1))


def _times(by_user: Histories, name: str) -> np.ndarray:
    if by_user.times is None:
        raise StageError(f"evaluate.baselines: {name} needs likes with times; take it out of the list")
    return by_user.times


def _in_order(*counts: np.ndarray) -> np.ndarray:
    """Scores float32 (M,) that order movies by the first counts int64 (M,), equal ones by the next; whole numbers."""
    # Whole numbers up to 2^24 are exact in float32, and equal counts have equal scores.
    return np.unique(np.stack(counts, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.float32)
