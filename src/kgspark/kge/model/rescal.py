"""RESCAL (Nickel et al. 2011): the query hᵀ M, with a matrix M per relation, and the item t, by inner product."""

import torch
from tgraphx.kg.models import RESCALModel

from kgspark.kge.model.two_tower import RowsByTable, TwoTower


def _query(heads: RowsByTable, relation: RowsByTable) -> torch.Tensor:
    h = heads["entity_emb"]  # (n, d)
    matrix = relation["relation_matrix"].view(-1, h.shape[1], h.shape[1])  # (1 or n, d, d)
    return h @ matrix[0] if len(matrix) == 1 else torch.einsum("bi,bij->bj", h, matrix)


def _query_each(heads: RowsByTable, relations: RowsByTable, chosen: torch.Tensor) -> torch.Tensor:
    """One product per relation: a copy of the matrix for every head would take dim times the memory of the heads."""
    h = heads["entity_emb"]
    parts = [
        torch.where((chosen == at)[:, None], h, 0) @ matrix.view(h.shape[1], -1)
        for at, matrix in enumerate(relations["relation_matrix"])
    ]
    return torch.stack(parts).sum(0)


TOWER = TwoTower(
    build=lambda entities, relations, settings: RESCALModel(entities, relations, settings.dim),
    entity_tables=("entity_emb",),
    relation_tables=("relation_matrix",),
    query=_query,
    item=lambda tails: tails["entity_emb"],
    identity_relation=lambda dim: {"relation_matrix": torch.eye(dim).flatten()},
    relation_width=lambda dim: dim**2,
    query_each=_query_each,
)
