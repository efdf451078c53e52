"""Encoders of histories: from a user's likes in order of time to the part of the query that says what comes next.

An encoder is a set of named tables, which a model file holds beside those of the model. Some have a row per movie, and
follow the movies' ids from night to night; the others belong to the encoder as a whole.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Self

import numpy as np
import torch

from kgspark.graph.histories import Histories
from kgspark.search_space import Metric

# The names of an encoder's tables start with this, and those without a row per movie go on with the second.
PREFIX = "history:"
WHOLE = f"{PREFIX}network."

Table = torch.Tensor


class HistoryEncoder(ABC):
    """An encoder that was trained with a model; objectives update its tables in place."""

    @classmethod
    @abstractmethod
    def from_tables(cls, tables: Mapping[str, Table]) -> Self:
        """The encoder with these `tables`."""

    @property
    @abstractmethod
    def tables(self) -> dict[str, Table]:
        """The tables by their name in a model file, sharing memory; float32 or float64."""

    # True if `queries` depends on `asked`.
    knows_when = False

    @abstractmethod
    def queries(self, likes: Histories, asked: np.ndarray | None = None) -> torch.Tensor:
        """e (U, n) of all users, on the tables' device and in their type; zeros for a user without likes.

        likes  of all users, with times
        asked  int64 (U,): the times, in seconds since 1970, of the likes to predict; None if they are not known
        """

    def ranked(self, queries: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The model's queries (U, width) and items (movies, width) as vectors (…, n) that go with e."""
        return queries, items

    def ranked_by(self, metric: Metric) -> Metric:
        """The metric of the vectors that `ranked` returns, where the model's is `metric`: inner_product, or l2."""
        return metric

    def untrained(self, name: str) -> float:
        """The value in a table's rows of movies that the encoder was not trained on."""
        return 0.0

    def changed(self, change: Callable[[str, Table], Table]) -> Self:
        """The encoder with every table replaced by `change(name, table)`."""
        return self.from_tables({name: change(name, table) for name, table in self.tables.items()})

    def to(self, device: torch.device) -> Self:
        """The same tables on a device."""
        return self.changed(lambda name, table: table.to(device))

    def copy(self) -> Self:
        """Tables to train on from here."""
        return self.changed(lambda name, table: table.clone())

    def double(self) -> Self:
        """The same tables as float64."""
        return self.changed(lambda name, table: table.double())

    def of_movies(self, movies: torch.Tensor) -> Self:
        """The encoder of the movies at the positions `movies` int64 (n,), in that order."""
        return self.changed(lambda name, table: table[movies] if is_movie_table(name) else table)

    def among(self, movies: torch.Tensor, count: int) -> Self:
        """The encoder of `count` movies: those of this one are at the positions `movies`, others are untrained."""

        def spread(name: str, table: Table) -> Table:
            if not is_movie_table(name):
                return table.clone()
            rows = table.new_full((count, *table.shape[1:]), self.untrained(name))
            rows[movies] = table
            return rows

        return self.changed(spread)


def is_history_table(name: str) -> bool:
    """True for the name of an encoder's table among the tables of a model file."""
    return name.startswith(PREFIX)


def is_movie_table(name: str) -> bool:
    """True for the name of an encoder's table with one row per movie."""
    return is_history_table(name) and not is_whole_table(name)


def is_whole_table(name: str) -> bool:
    """True for the name of an encoder's table without rows of movies."""
    return name.startswith(WHOLE)
