"""Vectors from facts for users without likes and movies with few or none; all other vectors stay unchanged."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import Pairs, TripleSet
from kgspark.kge.export.facts import Facts, facts_of, inform_movies
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.model.scoring import score_matrix
from kgspark.kge.model.two_tower import build_model, metric_of, parameters_by_table, tower_of
from kgspark.kge.training.training import train
from kgspark.search_space import pairwise_scores
from kgspark.tables import SOURCES
from worlds.graphs import MODELS, settings

GROUPS, USERS, MOVIES = 3, 36, 33
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES), ("genre", GROUPS), ("city", GROUPS)])
LIKED, WATCHED, GENRE, CITY = RELATIONS = [
    Relation(0, "liked", "user", "movie"),
    Relation(1, "watched", "user", "movie"),
    Relation(2, "has_genre", "movie", "genre"),
    Relation(3, "lives_in", "user", "city"),
]
STRANGER, HERMIT, NEW_MOVIE = 7, 8, 5  # a user with only a city, a user without any fact, a movie that nobody rated


@dataclass(frozen=True)
class World:
    graph: Graph
    space: object
    model: torch.nn.Module
    chosen: object


def town() -> Graph:
    """Users in city g like the movies of genre g; every user watched the first movie of the next genre."""
    rows = []
    for user in range(USERS):
        group = user % GROUPS
        if user not in (STRANGER, HERMIT):
            liked = [m for m in range(MOVIES) if m % GROUPS == group and m != NEW_MOVIE and (m + user) % 5]
            rows += [(user, 0, USERS + movie, 1.0) for movie in liked]
            rows.append((user, 1, USERS + (group + 1) % GROUPS, 0.0))
        if user != HERMIT:
            rows.append((user, 3, USERS + MOVIES + GROUPS + group, 0.1))
    rows += [(USERS + movie, 2, USERS + MOVIES + movie % GROUPS, 0.1) for movie in range(MOVIES)]
    head, relation, tail, weight = (np.array(column) for column in zip(*rows, strict=True))
    columns = {"head": head, "relation": relation.astype(np.int32), "tail": tail, "weight": weight.astype(np.float32)}
    return Graph.from_columns({**columns, "split": np.full(len(rows), "train")}, LAYOUT, RELATIONS)


@pytest.fixture(scope="module", params=MODELS, ids=str)
def world(request, tmp_path_factory):
    name, norm = request.param
    scale = 1.0 if name != "transe" or norm == 1 else 0.2
    chosen = settings(model=name, norm=norm, epochs=30, validation={"every": 30}, temperature=scale, learning_rate=0.02)
    graph = town()
    trained = train(graph, chosen, tmp_path_factory.mktemp("run"))
    return World(graph, export_search_space(trained.model, graph, chosen), trained.model, chosen)


def best_groups(space, user: int) -> list[int]:
    scores = pairwise_scores(space, np.full(MOVIES, user), np.arange(MOVIES))
    return (np.argsort(-scores, kind="stable")[: MOVIES // GROUPS] % GROUPS).tolist()


def test_a_user_known_by_a_city_alone_is_ranked_as_its_neighbours_are(world):
    assert set(best_groups(world.space, STRANGER)) == {STRANGER % GROUPS}
    assert SOURCES[world.space.query_sources[STRANGER]] == "facts"


def test_a_user_without_any_fact_gets_the_mean_query(world):
    others = np.delete(np.arange(USERS), [STRANGER, HERMIT])
    expected = world.space.queries[others].mean(axis=0)
    np.testing.assert_allclose(world.space.queries[HERMIT], expected, atol=1e-5)
    assert SOURCES[world.space.query_sources[HERMIT]] == "average"
    assert set(world.space.query_sources[others]) == {SOURCES.index("model")}


def test_a_movie_that_nobody_rated_lies_with_its_genre(world):
    users = np.delete(np.arange(USERS), [STRANGER, HERMIT])
    scores = pairwise_scores(world.space, users, np.full(len(users), NEW_MOVIE)).reshape(-1)
    own = users % GROUPS == NEW_MOVIE % GROUPS
    assert scores[own].min() > scores[~own].max()
    assert SOURCES[world.space.item_sources[NEW_MOVIE]] == "facts"
    assert (np.delete(world.space.item_sources, NEW_MOVIE) == SOURCES.index("model")).all()


def test_informed_vectors_still_rank_as_score_triples(world):
    users = np.delete(np.arange(USERS), [STRANGER, HERMIT]).repeat(MOVIES)
    movies = np.tile(np.arange(MOVIES), USERS - 2)
    triples = torch.from_numpy(np.stack([users, np.zeros_like(users), movies + USERS], axis=1))
    expected = world.model.cpu().score_triples(triples).detach().numpy()
    np.testing.assert_allclose(pairwise_scores(world.space, users, movies), expected, atol=2e-5, rtol=1e-4)


def test_facts_weigh_as_much_as_the_prior_and_leave_popularity_alone():
    """DistMult: κ = 0 keeps the vectors; a large κ gives a movie its genre's taste and keeps its popularity."""
    graph = town()
    for prior, moved in ((0.0, False), (1e9, True)):
        chosen = settings(model="distmult", init="normal", export={"facts_prior": prior})
        torch.manual_seed(1)
        model = build_model(chosen, LAYOUT.size, len(RELATIONS))
        queries, before = (part.clone() for part in target_vectors(model, graph, chosen))
        inform_movies(model, graph, chosen, ("train",))
        after = target_vectors(model, graph, chosen)[1]
        liked = np.delete(np.arange(MOVIES), NEW_MOVIE)
        assert torch.equal(before[liked], after[liked]) is not moved
        assert not torch.equal(before[NEW_MOVIE], after[NEW_MOVIE])
        asking = np.delete(np.arange(USERS), [STRANGER, HERMIT])
        axis = torch.nn.functional.normalize(queries[asking].mean(0), dim=0)
        torch.testing.assert_close(before[liked] @ axis, after[liked] @ axis, atol=1e-5, rtol=1e-4)
        if moved:
            taste = after - (after @ axis)[:, None] * axis
            of_genre = taste[liked][liked % GROUPS == 0]
            torch.testing.assert_close(of_genre, of_genre[:1].expand_as(of_genre), atol=1e-5, rtol=1e-4)


def test_a_relation_derived_from_likes_is_not_a_fact():
    """A movie without likes has no neighbours by likes, so a map fitted on such neighbours would fail for it."""
    graph, chosen = town(), settings(model="distmult", init="normal")
    near = Relation(4, "watched_with", "movie", "movie", of_likes=True)
    heads = np.delete(np.arange(MOVIES), NEW_MOVIE)
    pairs = Pairs.sort(heads + USERS, np.roll(heads, 1) + USERS, np.ones(len(heads), np.float32))
    model = build_model(chosen, LAYOUT.size, len(RELATIONS) + 1)
    found = []
    for relations in (RELATIONS, [*RELATIONS, near]):
        informed = copy.deepcopy(model)
        known = Graph(TripleSet({**graph.triples.parts, ("train", 4): pairs}), LAYOUT, relations)
        inform_movies(informed, known, chosen, ("train",))
        found.append(target_vectors(informed, known, chosen)[1])
    assert torch.equal(*found)


@pytest.mark.parametrize(("name", "norm"), [("rotate", 2), ("transe", 1)])
def test_a_movie_without_ratings_is_not_on_everybodys_list(name, norm):
    """Movies with similar facts, in a space where their mean is nearer to every user than any of them is."""
    generator = np.random.default_rng(4)
    layout = EntityLayout.from_counts([("user", 50), ("movie", 60), ("genre", 1)])
    head, tail = (part.ravel() for part in np.meshgrid(np.arange(50), 50 + np.arange(40)))
    head, tail = (np.concatenate(parts) for parts in ((head, 50 + np.arange(60)), (tail, np.full(60, 110))))
    columns = {"head": head, "tail": tail, "relation": (head >= 50).astype(np.int32)}
    columns |= {"split": np.full(len(head), "train"), "weight": generator.random(len(head)).astype(np.float32)}
    relations = [LIKED, Relation(1, "has_genre", "movie", "genre")]
    chosen = settings(model=name, norm=norm, dim=32, init="normal")
    torch.manual_seed(5)
    model = build_model(chosen, layout.size, 2)
    tower = tower_of(chosen)
    for table, middle in zip(tower.entity_tables, (1, 0), strict=False):
        parameters_by_table(model)[table][:110] = middle + torch.randn(110, 32)
    parameters_by_table(model)[tower.relation_tables[0]].zero_()
    graph = Graph.from_columns(columns, layout, relations)
    inform_movies(model, graph, chosen, ("train",))
    queries, items = target_vectors(model, graph, chosen)
    places = score_matrix(queries, items, metric_of(chosen)).argsort(1, descending=True).argsort(1)
    assert places[:, 40:].float().mean() == pytest.approx(29.5, abs=8)


def test_many_facts_of_one_relation_count_by_the_root_of_their_number():
    of_heads = Histories.of([[0, 1, 0], [1], []])
    rows = Facts([(of_heads, torch.tensor([[3.0, 0.0], [0.0, 1.0]]))], 3).rows(np.arange(3))
    root = 3**0.5
    torch.testing.assert_close(rows, torch.tensor([[6 / root, 1 / root, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]))


def test_facts_are_fitted_as_the_normal_equations_say():
    chosen = settings(init="normal")
    torch.manual_seed(2)
    model = build_model(chosen, LAYOUT.size, len(RELATIONS))
    facts = facts_of("user", model, town(), chosen)
    everyone = np.arange(USERS)
    x = facts.rows(everyone).double().numpy()
    vectors = torch.nn.functional.normalize(parameters_by_table(model)["entity_emb"]).numpy()
    watched = USERS + (3 % GROUPS + 1) % GROUPS
    expected = [*vectors[watched], 1, *vectors[USERS + MOVIES + GROUPS + 3 % GROUPS], 1, 1]
    np.testing.assert_allclose(x[3], expected, atol=1e-6)
    assert not x[HERMIT, :-1].any()
    y = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    ridge = np.diag([1.0] * (x.shape[1] - 1) + [1e-6])
    weights = np.linalg.solve(x[:20].T @ x[:20] + ridge, x[:20].T @ y.double().numpy())
    np.testing.assert_allclose(facts.predict(everyone[:20], y, everyone), x @ weights, atol=1e-4)
