"""Exported vectors rank exactly as tgraphx's score_triples, for every model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kgspark.graph.histories import Histories
from kgspark.graph.triples import TripleSet
from kgspark.kge.export.evaluation import top_items
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.scoring import score_matrix
from kgspark.kge.model.transe import unit_rows
from kgspark.kge.model.two_tower import build_model, parameter_count, parameters_by_table, vector_width
from kgspark.search_space import pairwise_scores
from kgspark.tables import SOURCES
from worlds.graphs import HAS_GENRE, LAYOUT, LIKED, MODELS, MOVIES, RELATIONS, USERS, block_world, settings

NOTHING_SEEN = Histories.empty(USERS)


def seeded_model(name, norm):
    torch.manual_seed(7)
    chosen = settings(model=name, norm=norm)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    for table in parameters_by_table(model).values():
        table.copy_(torch.randn(table.shape))  # far from unit length, to detect a missing normalisation
    return chosen, model


def test_unit_rows_and_their_gradient_are_those_of_normalize():
    torch.manual_seed(3)
    rows = torch.randn(5, 4, dtype=torch.float64)
    rows[2] = 0.0
    units = unit_rows(rows)
    torch.testing.assert_close(units, torch.nn.functional.normalize(rows, dim=-1))
    assert not units[2].any()
    assert torch.autograd.gradcheck(unit_rows, (rows[[0, 1, 3, 4]].requires_grad_(),))


def own_scores(model, users, movies, relation):
    triples = np.stack([users, np.full(len(users), relation), movies + USERS], axis=1)
    with torch.no_grad():
        return model.score_triples(torch.from_numpy(triples)).numpy()


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_exported_scores_and_rankings_equal_score_triples(name, norm):
    chosen, model = seeded_model(name, norm)
    space = export_search_space(model, block_world(), chosen)
    users, movies = (grid.ravel() for grid in np.meshgrid(np.arange(USERS), np.arange(MOVIES), indexing="ij"))

    expected = own_scores(model, users, movies, LIKED.index)
    exported = pairwise_scores(space, users, movies)

    np.testing.assert_allclose(exported, expected, rtol=1e-5, atol=1e-5)
    by_model = np.argsort(-expected.reshape(USERS, MOVIES), axis=1, kind="stable")
    by_export = np.argsort(-exported.reshape(USERS, MOVIES), axis=1, kind="stable")
    np.testing.assert_array_equal(by_export, by_model)
    queries, items = torch.from_numpy(space.queries), torch.from_numpy(space.items)
    ranked = top_items(queries, items, space.metric, np.arange(USERS), NOTHING_SEEN, MOVIES)
    np.testing.assert_array_equal(ranked, by_model)


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_score_matrix_equals_the_search_space(name, norm):
    chosen, model = seeded_model(name, norm)
    space = export_search_space(model, block_world(), chosen)
    users, movies = (grid.ravel() for grid in np.meshgrid(np.arange(USERS), np.arange(MOVIES), indexing="ij"))
    scores = score_matrix(torch.from_numpy(space.queries), torch.from_numpy(space.items), space.metric)
    expected = pairwise_scores(space, users, movies).reshape(USERS, MOVIES) - space.offset
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_parameter_count_is_the_models(name, norm):
    chosen, model = seeded_model(name, norm)
    counted = parameter_count(chosen, LAYOUT.size, len(RELATIONS))
    assert counted == sum(parameter.numel() for parameter in model.parameters())
    space = export_search_space(model, block_world(), chosen)
    assert space.queries.shape == (USERS, vector_width(chosen))


def test_a_user_without_triples_gets_the_mean_query():
    chosen, model = seeded_model("transe", 2)
    world = block_world()
    genres, likes = world.pairs(HAS_GENRE), world.pairs(LIKED)
    parts = {("train", HAS_GENRE.index): genres, ("train", LIKED.index): likes.at(likes.heads != 3)}

    space = export_search_space(model, replace(world, triples=TripleSet(parts)), chosen)

    assert [SOURCES[place] for place in space.query_sources[:5]] == ["model"] * 3 + ["average", "model"]
    others = np.delete(space.queries, 3, axis=0)
    np.testing.assert_allclose(space.queries[3], others.mean(axis=0), atol=1e-6)


def test_model_id_names_the_weights():
    chosen, model = seeded_model("transe", 2)
    first = export_search_space(model, block_world(), chosen)
    again = export_search_space(model, block_world(), chosen)
    model.entity_emb.weight.data[0] += 1
    changed = export_search_space(model, block_world(), chosen)
    assert first.model_id == again.model_id != changed.model_id
    assert first.model_id.startswith("transe-")
