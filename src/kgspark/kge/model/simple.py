"""SimplE (Kazemi & Poole 2018): the query ½ [h ⊙ r, h̄ ⊙ r̄] and the item [t̄, t], compared by inner product."""

import torch
from tgraphx.kg.models import SimplEModel

from kgspark.kge.model.two_tower import RowsByTable, TwoTower


def _query(heads: RowsByTable, relation: RowsByTable) -> torch.Tensor:
    forward = heads["entity_head"] * relation["relation_fwd"]
    return 0.5 * torch.cat([forward, heads["entity_tail"] * relation["relation_inv"]], dim=1)


TOWER = TwoTower(
    build=lambda entities, relations, settings: SimplEModel(entities, relations, settings.dim),
    entity_tables=("entity_head", "entity_tail"),
    relation_tables=("relation_fwd", "relation_inv"),
    query=_query,
    item=lambda tails: torch.cat([tails["entity_tail"], tails["entity_head"]], dim=1),
    identity_relation=lambda dim: {"relation_fwd": torch.ones(dim), "relation_inv": torch.ones(dim)},
    item_tables=("entity_tail", "entity_head"),
)
