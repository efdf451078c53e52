"""Everybody is recommended what most users like."""

from dataclasses import dataclass

import numpy as np

from kgspark.graph.histories import Histories


@dataclass(frozen=True)
class Popularity:
    """One score a movie, float32 (M,), the same for every user."""

    score: np.ndarray

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M)."""
        return np.broadcast_to(self.score, (len(users), len(self.score)))


def fit(likes: Histories, catalogue: int) -> Popularity:
    """Scores a movie by its number of likes."""
    return Popularity(likes.counts(catalogue).astype(np.float32))
