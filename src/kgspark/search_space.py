"""The vectors that retrieval ranks with, and their external ids. Ranking by them equals ranking by the trained model.

`score(u, m)` is a function of `queries[u]` and `items[m]` alone, by `metric`:

inner_product  q · t                                                    DistMult, ComplEx, RESCAL, SimplE
l2             offset − ‖q − t‖₂                                        TransE, norm 2
l1             offset − ‖q − t‖₁                                        TransE, norm 1
modulus        offset − Σᵢ √((qᵢ − tᵢ)² + (qᵢ₊ₙ − tᵢ₊ₙ)²), n = d/2      RotatE, complex coordinates (re, im)

Higher is better for every metric. The value equals tgraphx's `score_triples` up to float32 rounding, except for queries
that were moved towards the user's latest likes (`train.export.recent_share`), and for a trend: then the metric is
inner_product, also for TransE (`kge.export.trend`). Recommendations rank by these scores. Audiences rank by a further
search space, whose scores are comparable between users (`kge.export.audience`).

`RANK_BY` has the same for readers of published vectors.

Seven functions implement these formulas, each for its purpose. A new metric needs all of them, an error bound in
`retrieval.bounds`, and FAISS's name in `retrieval.index`; tests/test_search_space.py compares them all.

pairwise_scores          float64, given pairs: the reference, slow
kge.model.scoring        torch, with gradients, without the offset
    score_matrix         all pairs: the model's own values
    training_scores      all pairs: cheaper; the same order as score_matrix, but for modulus only nearly
    ranking_scores       all pairs: cheaper; the same order as score_matrix, other values
    pair_scores          given pairs: for objectives that draw negatives
retrieval.scores         float32, whose bits do not depend on the batch: every published score
retrieval.cuda_search    torch on a GPU, all pairs, best first: finds candidates, as FAISS does on CPUs
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from kgspark.errors import InputError
from kgspark.tables import LEARNED, SOURCES

Metric = Literal["inner_product", "l2", "l1", "modulus"]

# The two sets of vectors in a search space. Recommendations rank the items, audiences rank the queries.
Side = Literal["items", "queries"]
ITEMS: Side = "items"
QUERIES: Side = "queries"
OPPOSITE: dict[Side, Side] = {ITEMS: QUERIES, QUERIES: ITEMS}

# How a reader of published vectors ranks by them, per metric; {n} is half the number of coordinates.
RANK_BY: dict[Metric, str] = {
    "inner_product": "rank by the largest inner product (vector stores say ip, inner or dot; do not normalize)",
    "l2": "rank by the smallest Euclidean distance (vector stores say l2; do not normalize)",
    "l1": "rank by the smallest distance, which is the sum of absolute differences (vector stores say l1, Manhattan or "
    "taxicab; do not normalize)",
    "modulus": "rank by the smallest distance, which is the sum over i < {n} of "
    "sqrt((q[i] - t[i])^2 + (q[i+{n}] - t[i+{n}])^2) (vector stores do not have it; do not normalize)",
}

# Arrow IPC files of one column `id` (int64 or string); row i names vector i.
_ID_FILES: dict[Side, str] = {ITEMS: "item_ids.arrow", QUERIES: "query_ids.arrow"}


@dataclass(frozen=True)
class Scoring:
    """How scores follow from the vectors of a search space, for those who have the vectors alone.

    metric, offset, width  those of `SearchSpace`
    dimension  number of all coordinates
    """

    metric: Metric
    offset: float
    dimension: int
    width: int

    @property
    def rank_by(self) -> str:
        """The rule in words."""
        parts = [RANK_BY[self.metric].format(n=self.dimension // 2)]
        if self.metric == "inner_product":
            parts += ["the score is the inner product"]
        else:
            parts += [f"the score is {self.offset} minus the distance" if self.offset else "the score is -distance"]
        if self.width < self.dimension:
            parts += [f"to compare items with each other, take their first {self.width} numbers"]
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """The fields and `rank_by`, in JSON's types."""
        return asdict(self) | {"rank_by": self.rank_by}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Scoring":
        """The reverse of `as_json`."""
        return cls(**{field.name: value[field.name] for field in fields(cls)})

    def as_metadata(self) -> dict[str, str]:
        """The key-value metadata of a file of vectors: `as_json` with the prefix `kgspark.`, as texts."""
        return {f"kgspark.{name}": f"{value}" for name, value in self.as_json().items()}


@dataclass(frozen=True)
class SearchSpace:
    """Vectors to rank with.

    queries  float32 (U, d): the translated user vectors (h + r for TransE, h ∘ r for RotatE, ...)
    items    float32 (M, d): the effective movie vectors, after the model's own normalisation
    query_sources, item_sources  uint8 (U,) and (M,): origin of each vector, a position in `tables.SOURCES`
    offset   added to a distance-based score (RotatE's margin); 0 elsewhere
    model_id      name of the weights that the vectors were computed from
    width    number of first coordinates that tell what is like what; 0 for all. Each of the others adds a number to the
             scores of an item, as a trend does

    Raises ValueError for an unknown metric and for shapes that do not fit together.
    """

    queries: np.ndarray
    items: np.ndarray
    query_sources: np.ndarray
    item_sources: np.ndarray
    metric: Metric
    offset: float = 0.0
    model_id: str = ""
    width: int = 0

    def __post_init__(self) -> None:
        if self.metric not in get_args(Metric):
            raise ValueError(f"unknown metric {self.metric!r}; expected one of {', '.join(get_args(Metric))}")
        if self.queries.ndim != 2 or self.items.ndim != 2 or self.queries.shape[1] != self.items.shape[1]:
            raise ValueError(f"queries {self.queries.shape} and items {self.items.shape} must both be (rows, d)")
        for side in (QUERIES, ITEMS):
            sources, vectors = self.sources(side), self.vectors(side)
            if sources.shape != (len(vectors),):
                raise ValueError(f"{side}: sources {sources.shape} must be one per vector ({len(vectors)})")

    @classmethod
    def learned(cls, queries: np.ndarray, items: np.ndarray, metric: Metric) -> "SearchSpace":
        """A search space whose vectors were all learned from likes."""
        users, movies = (np.full(len(vectors), SOURCES.index(LEARNED), np.uint8) for vectors in (queries, items))
        return cls(queries, items, users, movies, metric)

    @property
    def scoring(self) -> Scoring:
        """How scores follow from the vectors."""
        dimension = self.items.shape[1]
        return Scoring(self.metric, self.offset, dimension, self.width or dimension)

    def vectors(self, side: Side) -> np.ndarray:
        """The vectors of one side, float32 (rows, d)."""
        return self.items if side == ITEMS else self.queries

    def sources(self, side: Side) -> np.ndarray:
        """The origin of each vector of one side, uint8 (rows,): positions in `tables.SOURCES`."""
        return self.item_sources if side == ITEMS else self.query_sources

    def count_sources(self) -> dict[str, dict[str, int]]:
        """The number of vectors per side and origin."""
        counts = {side: np.bincount(self.sources(side), minlength=len(SOURCES)).tolist() for side in (QUERIES, ITEMS)}
        return {side: dict(zip(SOURCES, of_side, strict=True)) for side, of_side in counts.items()}

    def save(self, folder: Path) -> None:
        """Writes one `.npy` file per array, and `search_space.json`, into an existing folder."""
        np.save(folder / "queries.npy", np.ascontiguousarray(self.queries, dtype=np.float32))
        np.save(folder / "items.npy", np.ascontiguousarray(self.items, dtype=np.float32))
        np.save(folder / "query_sources.npy", self.query_sources.astype(np.uint8))
        np.save(folder / "item_sources.npy", self.item_sources.astype(np.uint8))
        header = {"metric": self.metric, "offset": self.offset, "model_id": self.model_id, "width": self.width}
        (folder / "search_space.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "SearchSpace":
        """Memory-maps a saved search space, so that the processes of a machine share its pages.

        Raises InputError if a file is missing.
        """
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
    """Scores of the pairs `(users[i], movies[i])`, float64 (n,): the reference for every other implementation."""
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


def write_ids(folder: Path, side: Side, ids: pa.Array) -> Path:
    """Writes the external ids of the vectors of `side`, in order, into an existing folder; returns the file."""
    table = pa.table({"id": ids})
    with pa.OSFile(str(folder / _ID_FILES[side]), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder / _ID_FILES[side]


def read_ids(folder: Path, side: Side, rows: int | None = None) -> pa.Array:
    """The external ids of the vectors of `side`, int64 or string (rows,), memory-mapped.

    Raises InputError if the file is missing, or if it does not contain exactly `rows` ids (None: any number).
    """
    path = folder / _ID_FILES[side]
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; train-embeddings writes it with the search space") from None
    if rows is not None and len(table) != rows:
        raise InputError(f"{path}: {len(table)} ids for {rows} vectors; they are not of the same night")
    return table["id"].combine_chunks()
