"""The numbers of the business rules; what they say of each movie is in the arrays of `files`."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class RulePlan:
    """The rules of a night, as ranking tasks need them.

    boosts     how each number of a movie changes its score
    at_most    of each rule about groups: the most rows of one group in a list
    relevance  λ of maximal marginal relevance; None to order lists by score
    pool       movies, the best by score, that maximal marginal relevance chooses from
    share      share of the ranks that movies with few ratings get
    few        the most ratings of such a movie
    seed, date  of their draw
    """

    boosts: tuple[Literal["add", "multiply"], ...] = ()
    at_most: tuple[int, ...] = ()
    relevance: float | None = None
    pool: int = 0
    share: float = 0.0
    few: int = 0
    seed: int = 0
    date: str = "1970-01-01"

    @property
    def looks_at_movies(self) -> bool:
        """True if a rule needs what the table `rules` has of each movie."""
        return bool(self.boosts or self.at_most or self.share)

    def to_json(self) -> dict[str, Any]:
        """The fields, in JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RulePlan":
        """The reverse of `to_json`."""
        return cls(**value | {name: tuple(value[name]) for name in ("boosts", "at_most")})

    def explored_ranks(self, k: int) -> np.ndarray:
        """The ranks int64 from 1, rising, that movies with few ratings get in a list of k: evenly spread, k the last.

        Their number is share · k, rounded down.
        """
        number = int(self.share * k + 1e-9)
        return -(-np.arange(1, number + 1) * k // max(number, 1))
