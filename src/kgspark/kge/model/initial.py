"""First vectors: from the truncated SVD of the target relation, or random ones."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.model.models import parameters_by_table
from kgspark.kge.settings import TrainSettings
from kgspark.tables import TRAIN

# Size of the random part of a spectral start, relative to N(0, 1/dim).
_NOISE = 0.1
# Of a tail's degree; ½ would make all tails equally heavy.
_TAIL_EXPONENT = 0.4
_OVERSAMPLING = 10
_POWER_ITERATIONS = 3


def initialise(
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    splits: Sequence[str] = (TRAIN,),
) -> None:
    """Fills the model's tables in place, as `settings.init` says; relations start as the identity.

    For a spectral start the target relation's triples of `splits` are read.
    """
    if settings.init == "tgraphx":
        return
    tables = parameters_by_table(model)
    generator = torch.Generator().manual_seed(settings.seed)
    for name, table in tables.items():
        if name.startswith("entity"):
            table.copy_(torch.randn(table.shape, generator=generator) / math.sqrt(settings.dim))
        else:
            table.copy_(_identity_relation(settings.model, name, table))
    if settings.init == "spectral":
        target = graph.relation(settings.target)
        width = graph.layout.count(target.tail_kind)
        vectors = spectral_vectors(graph.histories(target, splits), width, settings.dim, generator)
        for kind, values in zip((target.head_kind, target.tail_kind), vectors, strict=True):
            _lay_spectral(settings, tables, slice(*graph.layout.range(kind)), values)


def spectral_vectors(
    likes: Histories, width: int, dim: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of heads (heads, dim) and tails (width, dim) from a truncated SVD; zeros where there is no triple.

    With A the 0/1 matrix, D_h and D_t its degrees: D_h^-½ A D_t^-0.4 ≈ U S Vᵀ (nearly the spectrum of the normalised
    graph; popular tails keep a little of their weight, which validation likes better), by randomised subspace iteration
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
    # The small Gram matrix has the same right vectors as the tall projection, at a fraction of its SVD's cost.
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


def _identity_relation(model: str, name: str, table: torch.Tensor) -> torch.Tensor:
    """Relation rows that leave a head as it is: 0 to add or turn by, 1 to multiply with, the unit matrix."""
    if name == "relation_matrix":
        return torch.eye(math.isqrt(table.shape[1])).reshape(1, -1).expand_as(table)
    multiplies = name in ("relation_fwd", "relation_inv", "relation_re") or model == "distmult"
    return torch.ones_like(table) if multiplies else torch.zeros_like(table)


def _lay_spectral(settings: TrainSettings, tables: dict[str, torch.Tensor], rows: slice, values: torch.Tensor) -> None:
    names = [name for name in tables if name.startswith("entity")]
    for name in names:
        tables[name][rows] *= _NOISE
    if settings.model == "rotate":
        # Angles take the place of coordinates: near zero |exp(iα) − exp(iβ)| ≈ |α − β|.
        tables["entity_re"][rows] += 1
        tables["entity_im"][rows] += values * math.sqrt(settings.dim)
        return
    for name in names[:1] if settings.model == "complex" else names:
        tables[name][rows] += values
