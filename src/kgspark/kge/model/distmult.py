"""DistMult (Yang et al. 2015): the query h ⊙ r and the item t, compared by their inner product."""

import torch
from tgraphx.kg.models import DistMultModel

from kgspark.kge.model.two_tower import TwoTower

TOWER = TwoTower(
    build=lambda entities, relations, settings: DistMultModel(entities, relations, settings.dim),
    entity_tables=("entity_emb",),
    relation_tables=("relation_emb",),
    query=lambda heads, relation: heads["entity_emb"] * relation["relation_emb"],
    item=lambda tails: tails["entity_emb"],
    identity_relation=lambda dim: {"relation_emb": torch.ones(dim)},
)
