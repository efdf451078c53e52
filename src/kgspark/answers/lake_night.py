"""One night of a lake: its tables, figures and vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kgspark.answers.tables import StoredTable
from kgspark.errors import InputError
from kgspark.manifests import Manifest
from kgspark.runs import Run
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, Side, read_ids
from kgspark.tables import MODEL, PUBLISHABLE, SEARCH_SPACE, SOURCES, WRITTEN_BY, Columns
from kgspark.warehouse.files import warehouse_of
from kgspark.warehouse.nights import NightState, state_of


@dataclass(frozen=True)
class LakeNight:
    """A night that has run; nothing is changed in it.

    lake  the folder of the lake, or of this machine's copy
    date  YYYY-MM-DD
    """

    lake: Path
    date: str

    def __repr__(self) -> str:
        return f"LakeNight({self.date}, {str(self.lake)!r})"

    @property
    def run(self) -> Run:
        """The night's folder, whose vectors and models are compared with their checksums only where that is said."""
        return Run(self.lake, self.date, "fast")

    @property
    def state(self) -> NightState:
        """State, model and size, as `kgspark nights` prints them."""
        return state_of(self.run, warehouse_of(self.lake))

    @property
    def tables(self) -> list[str]:
        """The names of the tables that are there, published ones included."""
        published = warehouse_of(self.lake).in_place(self.date)
        names = {*(published.tables if published else ())}
        return [name for name in WRITTEN_BY if name in names or self.run.find_manifest(name) is not None]

    def table(self, name: str) -> StoredTable:
        """A table; of one that this night has published, the published files.

        Raises InputError if it is not there.
        """
        if name not in WRITTEN_BY:
            raise InputError(f"no table is called {name!r}; a night has {', '.join(WRITTEN_BY)}")
        if name in PUBLISHABLE:
            folder = warehouse_of(self.lake).readable(name, self.date)
            if folder is not None:
                return StoredTable(name, folder)
        if self.run.find_manifest(name) is None:
            there = ", ".join(self.tables) or "none"
            raise InputError(f"{self.run.folder}: no table {name} here; this night has {there}")
        return StoredTable(name, self.run.table(name))

    def manifest(self, name: str) -> Manifest:
        """The manifest of a table of the night's folder: files, settings, inputs, details; StageError without one."""
        return self.run.manifest(name)

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Metrics on held-out likes by name, of `model` and `popularity`; empty if no like was held out."""
        metrics: Mapping[str, Mapping[str, float]] = self.manifest(MODEL).details["metrics"]
        return metrics

    @property
    def model_id(self) -> str:
        """The name of the weights that rank."""
        return str(self.manifest(MODEL).details[Columns.MODEL_ID])

    @property
    def search_space(self) -> SearchSpace:
        """The vectors that recommendations are ranked by, and their metric; mapped into memory, not read."""
        return SearchSpace.load(self.run.table(SEARCH_SPACE))

    @property
    def user_vectors(self) -> np.ndarray:
        """The queries, float32 (users, d), in the order of `user_ids`; read-only."""
        return self.search_space.queries

    @property
    def item_vectors(self) -> np.ndarray:
        """The items, float32 (movies, d), in the order of `item_ids`; read-only."""
        return self.search_space.items

    @property
    def user_ids(self) -> np.ndarray:
        """External ids, int64 or object (users,)."""
        return self._ids(QUERIES)

    @property
    def item_ids(self) -> np.ndarray:
        """External ids, int64 or object (movies,)."""
        return self._ids(ITEMS)

    def sources(self, side: Side) -> np.ndarray:
        """The origin of each vector of a side, `queries` or `items`: object (rows,) of `tables.SOURCES`."""
        return np.array(SOURCES, object)[self.search_space.sources(side)]

    def _ids(self, side: Side) -> np.ndarray:
        return read_ids(self.run.table(SEARCH_SPACE), side).to_numpy(zero_copy_only=False)
