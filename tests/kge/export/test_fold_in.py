"""Queries from likes that no training has learned."""

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from kgspark.errors import InputError
from kgspark.fold_in import FoldIn
from kgspark.fold_in.encoders import encoder_of
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.triples import TripleSet
from kgspark.kge.export.evidence import LIKES, NOTHING, evidence_of
from kgspark.kge.export.fold_in import QueryOfLikes, function_of_likes
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.history import PREFIX
from kgspark.kge.model.history_network import HistoryNetwork
from kgspark.kge.model.history_sums import DecayedSums
from kgspark.kge.training.training import train
from kgspark.search_space import pairwise_scores, write_ids
from kgspark.tables import SOURCES
from worlds import orders
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


@pytest.mark.parametrize("trend", [0, 2])
@pytest.mark.parametrize("encoder", ["sums", "network"])
def test_numpy_alone_has_the_query_of_a_trained_encoder(tmp_path, encoder, trend):
    """Another half of the users is unknown to the model, with histories of 1 to 8 likes, and weights."""
    ring, draws = orders.in_a_ring(), np.random.default_rng(1)
    export = {"trend_weight": trend, "trend_half_life": 7}
    history = orders.NETWORK if encoder == "network" else orders.ORDERED["history"]
    trained = orders.trained(tmp_path, history=history, export=export)
    assert trained.encoder is not None
    strangers = np.arange(0, orders.USERS, 2)
    evidence = trained.evidence.copy()
    evidence[strangers] = NOTHING
    likes = ring.histories(LIKED, ("train", "valid", "test"))
    kept = (
        np.arange(len(likes.indices)) % orders.LIKES < draws.integers(1, orders.LIKES + 1, orders.USERS)[likes.rows()]
    )
    weights = draws.choice([0.5, 1, 1.25], kept.sum())
    columns = {
        "head": likes.rows()[kept],
        "relation": np.zeros(kept.sum(), np.int32),
        "tail": orders.USERS + likes.indices[kept],
        "split": np.full(kept.sum(), "train"),
        "weight": weights.astype(np.float32),
        "timestamp": draws.integers(10**9, 10**9 + 10**6, kept.sum()),
    }
    graph = Graph.from_columns(columns, orders.LAYOUT, [LIKED])
    space = export_search_space(trained.model, graph, trained.settings, evidence, trained.encoder)
    folder = tmp_path / "search_space"
    folder.mkdir()
    space.save(folder)
    write_ids(folder, "items", pa.array(range(orders.MOVIES)))
    function_of_likes(trained.model, graph, trained.settings, evidence, space, trained.encoder).save(folder)

    night, likes = FoldIn.open(tmp_path), graph.histories(LIKED)
    found = night.queries(likes.pick(strangers))
    np.testing.assert_allclose(found, space.queries[strangers], rtol=1e-4, atol=1e-5)
    own = likes.pick(strangers[:1])
    top = night.top(own.indices, k=5, times=own.times, weights=own.weights)
    scores = pairwise_scores(space, np.full(orders.MOVIES, strangers[0]), np.arange(orders.MOVIES))
    scores[own.indices] = -np.inf
    assert [movie for movie, _ in top] == np.argsort(-scores)[:5].tolist()
    assert [score for _, score in top] == pytest.approx(np.sort(scores)[::-1][:5], rel=1e-4)

    asked = np.array([2 * 10**9] * orders.USERS)
    timed = export_search_space(trained.model, graph, trained.settings, evidence, trained.encoder, asked=asked)
    np.testing.assert_allclose(
        night.queries(likes.pick(strangers), asked[strangers]), timed.queries[strangers], rtol=1e-4, atol=1e-5
    )
    assert np.allclose(timed.queries, space.queries, atol=1e-3) == (encoder == "sums")


def test_an_encoder_of_full_size_is_that_of_torch():
    """Three blocks of width 64, histories longer than those that queries read, and a user without likes."""
    draws, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    items = torch.randn(50, 64, generator=generator)
    started = HistoryNetwork.start(items, DecayedSums.start(items, (0.5, 2.0, 10.0)), blocks=3, places=40, seed=0)

    def drawn(name: str, table: torch.Tensor) -> torch.Tensor:
        return table if name.endswith("places") else table + 0.2 * torch.randn(table.shape, generator=generator)

    network, sizes = started.changed(drawn), [1, 0, 17, 39, 40, 90]
    times, weights = draws.integers(0, 10**9, sum(sizes)), draws.uniform(0.1, 2, sum(sizes)).astype(np.float32)
    likes = Histories.from_sizes(sizes, draws.integers(0, 50, sum(sizes)), weights, times)
    tables = {name.removeprefix(PREFIX): table.numpy() for name, table in network.tables.items()}
    for asked in (None, np.full(len(sizes), 10**9 + 5)):
        found = encoder_of(tables).vectors(likes, asked)
        np.testing.assert_allclose(found, network.queries(likes, asked), rtol=2e-4, atol=2e-4)


def test_a_night_without_the_function_is_one_line(tmp_path):
    graph = Graph.from_columns(block_columns(), LAYOUT, RELATIONS)
    trained = train(graph, settings(model="rotate"), tmp_path)
    space = export_search_space(trained.model, graph, trained.settings)
    assert function_of_likes(trained.model, graph, trained.settings, trained.evidence, space) is None
    (tmp_path / "search_space").mkdir()
    space.save(tmp_path / "search_space")
    with pytest.raises(InputError, match=r"fold_in\.npz: missing; .*run train-embeddings again"):
        FoldIn.open(tmp_path)
