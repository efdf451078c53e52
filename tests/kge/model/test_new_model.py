"""A new model is one module with its TOWER and one entry in MODELS; this test module is such a module."""

import numpy as np
import pytest
import torch

from kgspark.kge import recipes
from kgspark.kge.export.model_files import load_model, save_model
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.two_tower import TwoTower
from kgspark.kge.recipes import ModelEntry
from kgspark.kge.training.training import train
from kgspark.retrieval.index import build_index
from kgspark.retrieval.topk import top_k
from kgspark.search_space import pairwise_scores
from worlds.graphs import GROUPS, LIKED, MOVIES, USERS, block_world, settings


class Affine(torch.nn.Module):
    """score(h, r, t) = (h ⊙ stretch(r) + shift(r)) · t: neither the tables' number nor their names are tgraphx's."""

    def __init__(self, entities: int, relations: int, dim: int) -> None:
        super().__init__()
        self.thing = torch.nn.Embedding(entities, dim)
        self.stretch = torch.nn.Embedding(relations, dim)
        self.shift = torch.nn.Embedding(relations, dim)

    def score_triples(self, triples: torch.Tensor) -> torch.Tensor:
        head, relation, tail = triples.T
        return ((self.thing(head) * self.stretch(relation) + self.shift(relation)) * self.thing(tail)).sum(1)


TOWER = TwoTower(
    build=lambda entities, relations, settings: Affine(entities, relations, settings.dim),
    entity_tables=("thing",),
    relation_tables=("stretch", "shift"),
    query=lambda heads, relation: heads["thing"] * relation["stretch"] + relation["shift"],
    item=lambda tails: tails["thing"],
    identity_relation=lambda dim: {"stretch": torch.ones(dim), "shift": torch.zeros(dim)},
)


@pytest.mark.parametrize("changes", [{}, {"objective": "bpr", "learning_rate": 0.02}], ids=["softmax", "bpr"])
def test_a_new_model_is_trained_saved_and_ranked(tmp_path, monkeypatch, changes):
    monkeypatch.setitem(recipes.MODELS, "affine", ModelEntry(__name__, {"learning_rate": 0.02}))
    chosen = settings(model="affine", epochs=30, validation={"patience": 30}, **changes)
    assert chosen.learning_rate == 0.02  # from the recipe of the entry, or given
    world = block_world()
    trained = train(world, chosen, tmp_path)
    assert trained.valid["ndcg@10"] > 0.9
    assert trained.test["mrr@10"] > 0.9

    save_model(tmp_path / "model", trained.model, world, chosen)
    model = load_model(tmp_path / "model").build()
    assert isinstance(model, Affine)
    space = export_search_space(model, world, chosen)
    assert space.model_id.startswith("affine-")
    users, movies = (grid.ravel() for grid in np.meshgrid(np.arange(USERS), np.arange(MOVIES), indexing="ij"))
    triples = torch.from_numpy(np.stack([users, np.zeros_like(users), movies + USERS], axis=1))
    expected = model.score_triples(triples).detach().numpy()
    np.testing.assert_allclose(pairwise_scores(space, users, movies), expected, rtol=1e-5, atol=1e-5)

    ranking = top_k(build_index(space.items, space.metric), space.queries, world.histories(LIKED), 1)
    assert (ranking.ids[:, 0] % GROUPS == np.arange(USERS) % GROUPS).mean() > 0.9
