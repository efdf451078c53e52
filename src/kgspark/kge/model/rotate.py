"""RotatE (Sun et al. 2019): the query ĥ ∘ exp(iθ), with ĥᵢ = hᵢ / |hᵢ|, and the item t̂, compared by moduli."""

import math

import torch
from tgraphx.kg.models import RotatEModel

from kgspark.kge.model.complex import ComplexRows, complex_moduli, complex_product
from kgspark.kge.model.two_tower import RowsByTable, TwoTower


def _query(heads: RowsByTable, relation: RowsByTable) -> torch.Tensor:
    phase = relation["relation_phase"]
    return complex_product(_unit_modulus(heads), (torch.cos(phase), torch.sin(phase)))


def _unit_modulus(rows: RowsByTable) -> ComplexRows:
    """Moves every complex coordinate onto the unit circle, with tgraphx's own clamp."""
    real, imaginary = rows["entity_re"], rows["entity_im"]
    modulus = torch.sqrt(real**2 + imaginary**2).clamp(min=1e-12)
    return real / modulus, imaginary / modulus


def _moduli(rows: RowsByTable) -> torch.Tensor:
    """Relations are angles, so each of their complex coordinates has modulus 1."""
    return torch.ones_like(rows["relation_phase"]) if "relation_phase" in rows else complex_moduli(rows)


def _margin(model: torch.nn.Module) -> float:
    assert isinstance(model, RotatEModel)
    return float(model.margin)


def _spectral(vectors: torch.Tensor) -> RowsByTable:
    """The coordinates as angles: near zero |exp(iα) − exp(iβ)| ≈ |α − β|."""
    return {"entity_re": torch.ones_like(vectors), "entity_im": vectors * math.sqrt(vectors.shape[1])}


TOWER = TwoTower(
    build=lambda entities, relations, settings: RotatEModel(entities, relations, settings.dim),
    entity_tables=("entity_re", "entity_im"),
    relation_tables=("relation_phase",),
    query=_query,
    item=lambda tails: torch.cat(_unit_modulus(tails), dim=1),
    identity_relation=lambda dim: {"relation_phase": torch.zeros(dim)},
    metric=lambda settings: "modulus",
    offset=_margin,
    moduli=_moduli,
    spectral=_spectral,
)
