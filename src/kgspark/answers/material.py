"""What lists are made of: vectors, ids, what each user has seen and likes, candidates, facts.

`NightMaterial` reads it from the folder of a night. A model that was fitted in memory has the same in arrays. Positions
count inside a kind: a user's position is the row of its query, a movie's that of its item.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from kgspark.fold_in import FoldIn
from kgspark.graph.histories import Histories
from kgspark.names import Names
from kgspark.retrieval.rules.rules import Rules
from kgspark.search_space import SearchSpace


@dataclass(frozen=True)
class UserPairs:
    """What U users have seen, in the order in which they were asked.

    seen     positions of the movies that no list repeats
    liked    those that may be a reason: the likes of all splits, by rising position
    learned  the likes that the queries have learned, with times, if likes have any
    """

    seen: Histories
    liked: Histories
    learned: Histories


@dataclass(frozen=True)
class Offer:
    """The movies that may be recommended to some users.

    segment  the name of the users' segment
    users    int64: their positions, sorted; None for all
    movies   int64: positions, sorted; None for all
    """

    segment: str
    users: np.ndarray | None
    movies: np.ndarray | None


@dataclass(frozen=True)
class MovieFacts:
    """Triples whose heads are movies; each array has one value per triple.

    relations   object (n,): names
    heads       int64 (n,): positions of movies
    kinds       object (n,): the kind of the tail
    tails       object (n,): external ids of the tails, as text
    """

    relations: np.ndarray
    heads: np.ndarray
    kinds: np.ndarray
    tails: np.ndarray


@dataclass(frozen=True)
class Described:
    """The name and settings of what lists are made of.

    origin   for errors, such as `the night of 2026-01-02`
    date     YYYY-MM-DD, the column ds
    k        length of a list, if none is asked for
    similar_k  of a list of similar movies
    names    words and columns
    own_popularity  segments whose own likes make popular movies
    """

    origin: str
    date: str
    k: int
    similar_k: int
    names: Names
    own_popularity: Sequence[str] = ()


class Material(ABC):
    """What `Recommender` answers from."""

    described: Described
    space: SearchSpace
    user_ids: pa.Array
    movie_ids: pa.Array

    @abstractmethod
    def pairs(self, users: np.ndarray) -> UserPairs:
        """What the users at the positions int64 (U,) have seen."""

    @abstractmethod
    def offers(self) -> Sequence[Offer]:
        """The candidates of each segment that has users and movies; one `Offer` of everything without restrictions."""

    def rules(self) -> Rules | None:
        """The business rules of the lists; None if there are none."""
        return None

    @abstractmethod
    def likes(self) -> tuple[np.ndarray, np.ndarray]:
        """The learned likes as positions of users and of movies, int64 (n,) each."""

    @abstractmethod
    def ratings(self, user: int) -> pa.Table:
        """The ratings of the user at a position: movie_id, rating, timestamp; the latest first."""

    @abstractmethod
    def titles(self) -> Mapping[object, str]:
        """The title of each movie, by external id; empty if the data has none."""

    @abstractmethod
    def facts(self, movies: np.ndarray) -> MovieFacts:
        """The triples of the movies at the positions int64 (n,), which are their heads."""

    @abstractmethod
    def similar_space(self) -> SearchSpace:
        """The vectors whose inner products say what is like what."""

    @abstractmethod
    def fold_in(self) -> FoldIn:
        """Queries of likes; InputError if there is no function of likes."""


def sorted_histories(rows: np.ndarray, entries: np.ndarray, users: int, times: np.ndarray | None = None) -> Histories:
    """One list per user, each by rising entry.

    rows, entries  int64 (n,): the user and the position of each entry
    """
    order = np.lexsort((entries, rows))
    sizes = np.bincount(rows, minlength=users)
    return Histories.from_sizes(sizes, entries[order], times=None if times is None else times[order])
