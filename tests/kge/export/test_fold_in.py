"""Queries from likes that no training has learned."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.triples import TripleSet
from kgspark.kge.export.evidence import LIKES, NOTHING, evidence_of
from kgspark.kge.export.fold_in import QueryOfLikes
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.training.training import train
from kgspark.tables import SOURCES
from worlds.graphs import GROUPS, LAYOUT, LIKED, RELATIONS, USERS, block_columns, settings


def test_a_query_is_the_formula_with_the_weights_of_a_ridge_regression():
    generator = np.random.default_rng(0)
    items = F.normalize(torch.from_numpy(generator.normal(size=(12, 3))).float())
    lists = [generator.permutation(12)[: generator.integers(1, 9)] for _ in range(40)]
    queries = torch.from_numpy(generator.normal(size=(41, 3))).float()
    likes = Histories.of([*lists, []])  # the last user has no like, and is not fitted on

    fitted = QueryOfLikes.fit(queries, items, likes)

    vectors = [items.double().numpy()[chosen] for chosen in lists]
    rows = np.array([[*v.mean(0), *(v.sum(0) / np.sqrt(len(v))), 1.0] for v in vectors])
    weights = np.linalg.solve(rows.T @ rows + np.eye(7), rows.T @ queries[:40].double().numpy())
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-4)
    np.testing.assert_allclose(fitted(likes.pick(np.arange(40))), rows @ weights, atol=1e-4)
    assert fitted(Histories.empty(0)).shape == (0, 3)


@pytest.mark.parametrize("model", ["transe", "complex"])
def test_users_whose_likes_are_not_learned_get_the_movies_of_their_group(tmp_path, model):
    """The model is told that it does not know some users: their queries come from their likes alone."""
    graph = Graph.from_columns(block_columns(), LAYOUT, RELATIONS)
    trained = train(graph, settings(model=model, epochs=12, learning_rate=0.02), tmp_path)
    strangers = np.arange(0, USERS, 5)
    evidence = evidence_of(graph, trained.settings, ("train",))
    evidence[strangers] = NOTHING
    space = export_search_space(trained.model, graph, trained.settings, evidence)
    assert (space.query_sources[strangers] == SOURCES.index("facts")).all()
    assert (evidence[:USERS] == LIKES).sum() == USERS - len(strangers)
    scores = space.queries @ space.items.T
    seen = graph.histories(LIKED)
    scores[seen.rows(), seen.indices] = -np.inf
    best = scores[strangers].argmax(axis=1)  # the one movie of the group that is held out
    assert (best % GROUPS == strangers % GROUPS).all()
    others = np.setdiff1d(np.arange(USERS), strangers)
    own = export_search_space(trained.model, graph, trained.settings)
    np.testing.assert_array_equal(space.queries[others], own.queries[others])
    assert not np.allclose(space.queries[strangers], own.queries[strangers])


def test_a_like_of_a_movie_without_a_vector_says_nothing(tmp_path):
    graph = Graph.from_columns(block_columns(), LAYOUT, RELATIONS)
    trained = train(graph, settings(), tmp_path)
    likes = graph.histories(LIKED).pick(np.array([0])).indices
    evidence = evidence_of(graph, trained.settings, ("train",))
    evidence[[0, *(USERS + likes)]] = NOTHING
    without_genres = {key: part for key, part in graph.triples.parts.items() if key[1] == LIKED.index}
    bare = Graph(TripleSet(without_genres), LAYOUT, (LIKED,))
    space = export_search_space(trained.model, bare, trained.settings, evidence)
    assert SOURCES[space.query_sources[0]] == "average"
    assert [SOURCES[place] for place in space.item_sources[likes]] == ["average"] * len(likes)
