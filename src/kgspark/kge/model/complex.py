"""ComplEx (Trouillon et al. 2016): the query [Re(h ∘ r), Im(h ∘ r)] and the item [Re t, Im t], by inner product."""

import torch
from tgraphx.kg.models import ComplExModel

from kgspark.kge.model.two_tower import RowsByTable, TwoTower

ComplexRows = tuple[torch.Tensor, torch.Tensor]  # real and imaginary parts, each (n, dim)


def complex_product(left: ComplexRows, right: ComplexRows) -> torch.Tensor:
    """The product per coordinate, real parts first: (n, 2 dim)."""
    (a, b), (c, d) = left, right
    return torch.cat([a * c - b * d, a * d + b * c], dim=1)


def complex_moduli(rows: RowsByTable) -> torch.Tensor:
    """Moduli (n, dim) of the complex coordinates of rows in two tables, real and imaginary."""
    real, imaginary = rows.values()
    # The root of exactly 0 has an infinite slope.
    return torch.sqrt(real**2 + imaginary**2 + 1e-12)


def _query(heads: RowsByTable, relation: RowsByTable) -> torch.Tensor:
    turn = (relation["relation_re"], relation["relation_im"])
    return complex_product((heads["entity_re"], heads["entity_im"]), turn)


TOWER = TwoTower(
    build=lambda entities, relations, settings: ComplExModel(entities, relations, settings.dim),
    entity_tables=("entity_re", "entity_im"),
    relation_tables=("relation_re", "relation_im"),
    query=_query,
    item=lambda tails: torch.cat([tails["entity_re"], tails["entity_im"]], dim=1),
    identity_relation=lambda dim: {"relation_re": torch.ones(dim), "relation_im": torch.zeros(dim)},
    moduli=complex_moduli,
    spectral=lambda vectors: {"entity_re": vectors},
)
