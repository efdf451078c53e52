"""What an evaluation asks of a recommender, ours or a peer's."""

from typing import Protocol

import numpy as np


class Recommender(Protocol):
    """Anything that scores the whole catalogue for a user."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M) of every movie for the users int64 (B,): higher is better, nothing is left out."""
