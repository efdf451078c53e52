"""The baseline that recommends the most liked movies to every user."""

from dataclasses import dataclass

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.peers.baselines import Likes


@dataclass(frozen=True)
class Popularity:
    """One score per movie, float32 (M,), the same for every user."""

    score: np.ndarray

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M)."""
        return np.broadcast_to(self.score, (len(users), len(self.score)))

    def of(self, likes: Histories) -> "Popularity":
        """The same scores: a user's likes do not matter."""
        return self


def fit(likes: Likes) -> Popularity:
    """Scores a movie by its number of likes."""
    return Popularity(likes.by_user.counts(likes.movies).astype(np.float32))
