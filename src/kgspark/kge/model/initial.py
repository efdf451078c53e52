"""First vectors: from the truncated SVD of the target relation, or random ones."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.model.two_tower import TwoTower, parameters_by_table, tower_of
from kgspark.kge.settings import TrainSettings
from kgspark.tables import TRAIN

# Scale of the random part of a spectral start, relative to N(0, 1/dim).
_NOISE = 0.1
# Exponent of a tail's degree; ½ would give all tails the same weight.
_TAIL_EXPONENT = 0.4
_OVERSAMPLING = 10
_POWER_ITERATIONS = 3


def initialise(
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    splits: Sequence[str] = (TRAIN,),
) -> None:
    """Fills the model's tables in place, by `settings.init`; relations start as the identity.

    A spectral start reads the target relation's triples of `splits`.
    """
    if settings.init == "tgraphx":
        return
    tables, tower = parameters_by_table(model), tower_of(settings)
    generator = torch.Generator().manual_seed(settings.seed)
    for name in tower.entity_tables:
        tables[name].copy_(torch.randn(tables[name].shape, generator=generator) / math.sqrt(settings.dim))
    for name, row in tower.identity_relation(settings.dim).items():
        tables[name].copy_(row.expand_as(tables[name]))
    if settings.init == "spectral":
        target = graph.relation(settings.target)
        width = graph.layout.count(target.tail_kind)
        vectors = spectral_vectors(graph.histories(target, splits), width, settings.dim, generator)
        for kind, values in zip((target.head_kind, target.tail_kind), vectors, strict=True):
            _add_spectral(tower, tables, slice(*graph.layout.range(kind)), values)


def spectral_vectors(
    likes: Histories, width: int, dim: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of heads (heads, dim) and tails (width, dim) from a truncated SVD; zeros for a row without triples.

    With A the 0/1 matrix, D_h and D_t its degrees: D_h^-½ A D_t^-0.4 ≈ U S Vᵀ (nearly the spectrum of the normalised
    graph; popular tails keep a little of their weight, which gives a better NDCG), by randomised subspace iteration
    (Halko, Martinsson & Tropp 2011, algorithm 4.4); vectors are rows of U S and V S.
    """
    counts, tail_counts, rows = likes.sizes, likes.counts(width), likes.rows()
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts) / tail_counts[likes.indices] ** _TAIL_EXPONENT
    order = np.lexsort((rows, likes.indices))
    forward = Histories(likes.indptr, likes.indices, values)
    backward = Histories.from_sizes(tail_counts, rows[order], values[order])
    rank = min(dim + _OVERSAMPLING, len(likes), width)
    basis = torch.randn(width, rank, generator=generator)
    for _ in range(_POWER_ITERATIONS):
        basis = torch.linalg.qr(_sparse_product(forward, basis))[0]
        basis = torch.linalg.qr(_sparse_product(backward, basis))[0]
    projected = _sparse_product(forward, basis)  # (heads, rank)
    # The small Gram matrix has the same right singular vectors as the tall projection, and is much faster to decompose.
    squares, right = torch.linalg.eigh((projected.T @ projected).double())
    kept = min(dim, rank)
    singular = squares.flip(0)[:kept].clamp(min=1e-12).sqrt().float()
    right = right.flip(1)[:, :kept].float()
    found = F.normalize(projected @ right), F.normalize(basis @ right * singular)  # projected = U S rightᵀ
    return F.pad(found[0], (0, dim - kept)), F.pad(found[1], (0, dim - kept))


def _sparse_product(matrix: Histories, dense: torch.Tensor) -> torch.Tensor:
    """A sparse matrix times a dense one; by embedding_bag, because torch's sparse matrices need MKL on a CPU."""
    parts = (matrix.indptr, matrix.indices, matrix.entry_weights)
    indptr, columns, values = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return F.embedding_bag(
        columns.long(),
        dense,
        indptr.long(),
        mode="sum",
        per_sample_weights=values.float(),
        include_last_offset=True,
    )


def _add_spectral(tower: TwoTower, tables: dict[str, torch.Tensor], rows: slice, vectors: torch.Tensor) -> None:
    """Replaces the random rows of one kind by its spectral vectors and a little noise."""
    for name in tower.entity_tables:
        tables[name][rows] *= _NOISE
    for name, values in tower.spectral_rows(vectors).items():
        tables[name][rows] += values
