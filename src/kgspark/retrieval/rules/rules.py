"""The business rules of one night, opened in a ranking task."""

from dataclasses import dataclass

import numpy as np

from kgspark.retrieval.rules.boosts import Boosts
from kgspark.retrieval.rules.caps import Caps
from kgspark.retrieval.rules.placed import Draw, MoviesOfUsers
from kgspark.retrieval.rules.plan import RulePlan
from kgspark.retrieval.topk import Ranking


@dataclass(frozen=True)
class Rules:
    """What a list must obey.

    boosts, caps, draw  None if no rule needs them
    pins    the pinned movies of each segment that has some
    """

    plan: RulePlan
    boosts: Boosts | None = None
    caps: Caps | None = None
    pins: tuple[MoviesOfUsers, ...] = ()
    draw: Draw | None = None

    def order(self, found: Ranking, is_whole: np.ndarray) -> tuple[Ranking, np.ndarray]:
        """The lists by final score, and the number of each one's first movies that are proven; see `Boosts.order`."""
        return (found, found.counts) if self.boosts is None else self.boosts.order(found, is_whole)

    def pool(self, k: int) -> int:
        """Movies that a list of k is chosen from, the best by final score."""
        return k if self.plan.relevance is None else max(k, self.plan.pool)

    def first_depth(self, k: int) -> int:
        """Movies of each user to search for at first: more if some of them may not be listed, or not be the best."""
        over = 1 if self.boosts is None and self.caps is None else 2
        return over * self.pool(k)
