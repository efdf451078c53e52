"""A query as a function of likes: what a night writes beside its vectors, and reads back with NumPy alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kgspark.errors import InputError
from kgspark.fold_in.encoders import Encoder, encoder_of, is_movie_table, is_needed, sum_by_user
from kgspark.graph.asked import Asked
from kgspark.graph.decays import recent_weights
from kgspark.graph.histories import Histories

_FILE = "fold_in.npz"
_OWN_ITEMS = "own_items"
# The names in the file of an encoder's tables as a whole. Its tables of movies are files of their own, to be mapped.
_TABLE = "history."


@dataclass(frozen=True)
class QueryFunction:
    """A query as a function of likes.

    weights    float32 (2 · width + 1, width): A, B and c of `kge.export.fold_in`
    share      fraction of a query that comes from the latest likes
    half_life  of these likes, in places, if `encoder` is `latest`
    encoder    the name of `train.history.encoder` that they need
    asked      the time that the night's lists are for; None if its queries do not say
    tables     of the encoder, float32, by their name after `kge.model.history.PREFIX`
    own_items  the model's own items float32 (movies, width), if those of the search space are others
    """

    weights: np.ndarray
    share: float
    half_life: float
    encoder: str
    asked: Asked | None = None
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    own_items: np.ndarray | None = None

    def save(self, folder: Path) -> None:
        """Writes its files into the existing folder of a search space; the same bytes for the same function."""
        values: dict[str, Any] = {"share": self.share, "half_life": self.half_life, "encoder": self.encoder}
        if self.asked is not None:
            values["asked"] = self.asked.to_json()
        needed = {name: table.astype(np.float32) for name, table in sorted(self.tables.items()) if is_needed(name)}
        of_movies = {name: table for name, table in needed.items() if is_movie_table(name)}
        if of_movies:
            values["tables"] = list(of_movies)
        if self.own_items is not None:
            values["own_items"] = True
            of_movies[_OWN_ITEMS] = self.own_items.astype(np.float32)
        for name, table in of_movies.items():
            np.save(_movie_file(folder, name), np.ascontiguousarray(table))
        arrays: dict[str, Any] = {"header": np.array(json.dumps(values)), "weights": self.weights.astype(np.float32)}
        arrays |= {f"{_TABLE}{name}": table for name, table in needed.items() if not is_movie_table(name)}
        np.savez(folder / _FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "QueryFunction":
        """Maps the tables of movies into memory. Raises InputError if a file is missing."""
        try:
            with np.load(folder / _FILE, allow_pickle=False) as arrays:
                values, weights = json.loads(str(arrays["header"])), arrays["weights"]
                tables = {name.removeprefix(_TABLE): arrays[name] for name in arrays.files if name.startswith(_TABLE)}
            tables |= {name: _mapped(folder, name) for name in values.pop("tables", ())}
            own_items = _mapped(folder, _OWN_ITEMS) if values.pop("own_items", False) else None
            asked = Asked(**values.pop("asked")) if "asked" in values else None
            return cls(weights, **values, asked=asked, tables=tables, own_items=own_items)
        except FileNotFoundError as error:
            raise InputError(
                f"{error.filename}: missing; a model that ranks by sums of distances (RotatE, TransE with norm 1) has "
                "none, and an earlier version wrote none: run train-embeddings again"
            ) from None

    @cached_property
    def trained(self) -> Encoder | None:
        """The trained encoder of histories; None if queries need none."""
        return encoder_of(self.tables)

    def queries(
        self, items: np.ndarray, likes: Histories, placed: np.ndarray, asked: np.ndarray | None = None
    ) -> np.ndarray:
        """Queries float32 (U, n), as `FoldIn.queries` describes them, without the coordinate of a trend.

        items   float32 (movies, width): the first numbers of the search space's items
        placed  bool (movies,): those with a vector of their own; a like of another one only has a place in the order
        """
        own = items if self.own_items is None else self.own_items
        queries = self._of_all(own, likes.where(placed[likes.indices]))
        if not self.share:
            return queries
        times = likes.times if likes.times is not None else np.arange(len(likes.indices))
        timed = Histories(likes.indptr, likes.indices, likes.weights, times)
        if self.trained is None:
            recent = sum_by_user(timed, own, recent_weights(timed, self.half_life))
        else:
            recent, queries = self.trained.vectors(timed, asked), self.trained.ranked(queries)
        lengths = np.linalg.norm(recent, axis=1, keepdims=True)
        recent = recent * np.linalg.norm(queries, axis=1, keepdims=True) / np.where(lengths > 0, lengths, 1)
        leaning = (1 - self.share) * queries + self.share * recent
        return np.where(lengths > 0, leaning, queries)

    def _of_all(self, items: np.ndarray, likes: Histories) -> np.ndarray:
        """A · Σ t / n + B · Σ t / √n + c float32 (U, width)."""
        counts = np.maximum(likes.sizes, 1)[:, None].astype(np.float32)
        sums = sum_by_user(likes, items, np.ones(len(likes.indices), np.float32))
        rows = np.concatenate([sums / counts, sums / np.sqrt(counts), np.ones_like(counts)], axis=1)
        return np.asarray(rows @ self.weights)


def _movie_file(folder: Path, name: str) -> Path:
    return folder / f"fold_in_{name}.npy"


def _mapped(folder: Path, name: str) -> np.ndarray:
    return np.load(_movie_file(folder, name), mmap_mode="r", allow_pickle=False)
