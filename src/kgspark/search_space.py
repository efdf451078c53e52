"""What retrieval needs to rank exactly as the trained model does, and nothing of the model itself.

`score(u, m)` is a function of `queries[u]` and `items[m]` alone, by `metric`:

inner_product  q · t                                                    DistMult, ComplEx, RESCAL, SimplE
l2             offset − ‖q − t‖₂                                        TransE, norm 2
l1             offset − ‖q − t‖₁                                        TransE, norm 1
modulus        offset − Σᵢ √((qᵢ − tᵢ)² + (qᵢ₊ₙ − tᵢ₊ₙ)²), n = d/2      RotatE, complex coordinates (re, im)

Higher is better throughout. The value equals tgraphx's `score_triples` up to float32 rounding, but for queries that
were moved towards the user's latest likes (`train.export.recent_share`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kgspark.errors import InputError
from kgspark.tables import LEARNED, SOURCES

Metric = Literal["inner_product", "l2", "l1", "modulus"]


@dataclass(frozen=True)
class SearchSpace:
    """Vectors to rank with.

    queries  float32 (U, d): the translated user vectors (h + r for TransE, h ∘ r for RotatE, ...)
    items    float32 (M, d): the effective movie vectors, after the model's own normalisation
    query_sources, item_sources  uint8 (U,) and (M,): what each vector came from, a place in `tables.SOURCES`
    offset   added to a distance-based score (RotatE's margin); 0 elsewhere
    model_id names the weights that the vectors came from
    """

    queries: np.ndarray
    items: np.ndarray
    query_sources: np.ndarray
    item_sources: np.ndarray
    metric: Metric
    offset: float = 0.0
    model_id: str = ""

    def __post_init__(self) -> None:
        if self.metric not in get_args(Metric):
            raise ValueError(f"unknown metric {self.metric!r}; expected one of {', '.join(get_args(Metric))}")
        if self.queries.ndim != 2 or self.items.ndim != 2 or self.queries.shape[1] != self.items.shape[1]:
            raise ValueError(f"queries {self.queries.shape} and items {self.items.shape} must both be (rows, d)")
        for sources, vectors in ((self.query_sources, self.queries), (self.item_sources, self.items)):
            if sources.shape != (len(vectors),):
                raise ValueError(f"sources {sources.shape} must be one a vector ({len(vectors)})")

    @classmethod
    def learned(cls, queries: np.ndarray, items: np.ndarray, metric: Metric) -> "SearchSpace":
        """Vectors that all come from likes."""
        users, movies = (np.full(len(vectors), SOURCES.index(LEARNED), np.uint8) for vectors in (queries, items))
        return cls(queries, items, users, movies, metric)

    def save(self, folder: Path) -> None:
        """Writes an `.npy` file an array and `search_space.json` into an existing folder."""
        np.save(folder / "queries.npy", np.ascontiguousarray(self.queries, dtype=np.float32))
        np.save(folder / "items.npy", np.ascontiguousarray(self.items, dtype=np.float32))
        np.save(folder / "query_sources.npy", self.query_sources.astype(np.uint8))
        np.save(folder / "item_sources.npy", self.item_sources.astype(np.uint8))
        header = {"metric": self.metric, "offset": self.offset, "model_id": self.model_id}
        (folder / "search_space.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "SearchSpace":
        """Memory-maps a saved search space, so that processes of one machine share its pages."""
        try:
            header = json.loads((folder / "search_space.json").read_text(encoding="utf-8"))
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("queries", "items", "query_sources", "item_sources")
            }
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: missing; run train-embeddings first") from None
        return cls(**arrays, **header)


def pairwise_scores(space: SearchSpace, users: np.ndarray, movies: np.ndarray) -> np.ndarray:
    """Scores of the pairs `(users[i], movies[i])`, float64 (n,): the definition that every index is held to."""
    q = space.queries[users].astype(np.float64)
    t = space.items[movies].astype(np.float64)
    if space.metric == "inner_product":
        return (q * t).sum(axis=1)
    if space.metric == "l2":
        return space.offset - np.sqrt(((q - t) ** 2).sum(axis=1))
    if space.metric == "l1":
        return space.offset - np.abs(q - t).sum(axis=1)
    half = q.shape[1] // 2
    difference = q - t
    return space.offset - np.hypot(difference[:, :half], difference[:, half:]).sum(axis=1)
