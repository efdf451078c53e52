"""Queries from likes that no training has learned."""

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from kgspark.errors import InputError
from kgspark.fold_in import FoldIn
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.triples import TripleSet
from kgspark.kge.export.evidence import LIKES, NOTHING, evidence_of
from kgspark.kge.export.fold_in import QueryOfLikes, function_of_likes
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.training.training import train
from kgspark.search_space import pairwise_scores, write_ids
from kgspark.tables import SOURCES
from worlds.graphs import GROUPS, LAYOUT, LIKED, MOVIES, RELATIONS, USERS, block_columns, settings, timed_columns


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


@pytest.mark.parametrize("trend", [0, 2])
@pytest.mark.parametrize("share", [0, 0.4])
def test_numpy_alone_has_the_query_of_a_served_night(tmp_path, share, trend):
    graph = Graph.from_columns(timed_columns(), LAYOUT, RELATIONS)
    export = {"recent_share": share, "trend_weight": trend, "trend_half_life": 7}
    trained = train(graph, settings(export=export, history={"encoder": "latest"}), tmp_path)
    strangers = np.arange(0, USERS, 5)
    evidence = evidence_of(graph, trained.settings, ("train",))
    evidence[strangers] = NOTHING
    space = export_search_space(trained.model, graph, trained.settings, evidence)
    (tmp_path / "search_space").mkdir()
    folder = tmp_path / "search_space"
    space.save(folder)
    write_ids(folder, "items", pa.array([f"m{i}" for i in range(MOVIES)]))
    function_of_likes(trained.model, graph, trained.settings, evidence, space).save(folder)

    night = FoldIn.open(tmp_path)
    likes = graph.histories(LIKED)
    np.testing.assert_allclose(night.queries(likes.pick(strangers)), space.queries[strangers], rtol=1e-4, atol=1e-5)

    user = strangers[1]
    own = likes.pick(np.array([user]))
    liked = [f"m{i}" for i in own.indices]
    scores = pairwise_scores(space, np.full(MOVIES, user), np.arange(MOVIES))
    scores[own.indices] = -np.inf
    best = np.argsort(-scores)[:5]
    top = night.top([*liked, "unknown"], k=5, times=[*own.times, 0])
    assert [movie for movie, _ in top] == [f"m{i}" for i in best]
    assert [score for _, score in top] == pytest.approx(scores[best].tolist(), rel=1e-4)
    in_order = own.indices[np.argsort(own.times)]  # the order says what times do
    again = night.top([f"m{i}" for i in in_order], k=5)
    assert [movie for movie, _ in again] == [movie for movie, _ in top]
    with pytest.raises(ValueError, match="none of the 1 movies has a vector"):
        night.top(["unknown"])


def test_a_night_without_the_function_is_one_line(tmp_path):
    graph = Graph.from_columns(block_columns(), LAYOUT, RELATIONS)
    trained = train(graph, settings(model="rotate"), tmp_path)
    space = export_search_space(trained.model, graph, trained.settings)
    assert function_of_likes(trained.model, graph, trained.settings, trained.evidence, space) is None
    (tmp_path / "search_space").mkdir()
    space.save(tmp_path / "search_space")
    with pytest.raises(InputError, match=r"fold_in\.npz: missing; .*run train-embeddings again"):
        FoldIn.open(tmp_path)
