"""Side relations that help are learned, and those that do not are left out by the validation likes."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.settings import TrainSection
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.side_relations import choose_side_relations
from kgspark.kge.training.training import train
from kgspark.tables import SOURCES
from worlds.graphs import settings

USERS, GROUPS, IN_GROUP, LIKES = 120, 6, 30, 4
MOVIES = GROUPS * IN_GROUP + 1
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES), ("genre", GROUPS)])
LIKED, HAS_GENRE = Relation(0, "liked", "user", "movie"), Relation(1, "has_genre", "movie", "genre")
TAUGHT = Relation(2, "watched_with", "movie", "movie", of_likes=True)


def world(helps: bool) -> Graph:
    """Users like few movies of one group. The genre is the group, or drawn at random; the last movie has no like."""
    draws = np.random.default_rng(0)
    genres = np.arange(MOVIES) % GROUPS
    liked = np.array([draws.permutation(IN_GROUP)[:LIKES] * GROUPS + user % GROUPS for user in range(USERS)])
    rows = [
        (user, 0, USERS + movie, "valid" if place == 0 else "train")
        for user, movies in enumerate(liked)
        for place, movie in enumerate(movies)
    ]
    told = genres if helps else draws.permutation(genres)
    rows += [(USERS + movie, 1, USERS + MOVIES + genre, "train") for movie, genre in enumerate(told)]
    rows += [(USERS, 2, USERS + 1, "train")]
    head, relation, tail, split = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.where(relation == 0, 1.0, 3.0 if not helps else 1.0).astype(np.float32)
    columns = {"head": head, "relation": relation.astype(np.int32), "tail": tail, "split": split, "weight": weights}
    return Graph.from_columns(columns, LAYOUT, [LIKED, HAS_GENRE, TAUGHT])


def quick(**changes):
    return settings(dim=16, epochs=8, learning_rate=0.02, **changes)


@pytest.mark.parametrize("helps", [True, False])
def test_validation_likes_decide(tmp_path, helps):
    graph, export = world(helps), {"facts_prior": 0}  # else facts help as much without being learned
    trained = train(graph, quick(side_relations="auto", export=export), tmp_path)
    found = trained.to_json()["side_relations"]
    assert found["names"] == ["has_genre"]  # neither likes, nor what is made from them
    assert found["learned"] == helps
    assert found["figures"]["users"] == USERS
    assert (found["figures"]["ndcg@10"] > found["figures"]["ndcg@10_without"]) == helps
    (tmp_path / "again").mkdir()
    again = train(graph, quick(side_relations="always" if helps else "never", export=export), tmp_path / "again")
    assert torch.equal(again.model.entity_emb.weight, trained.model.entity_emb.weight)
    assert again.side_relations.figures == {}


def test_relations_that_are_left_out_still_place_movies_without_likes(tmp_path):
    graph = world(helps=True)
    trained = train(graph, quick(side_relations="never"), tmp_path)
    space = export_search_space(trained.model, graph, trained.settings, trained.evidence)
    assert SOURCES[space.item_sources[-1]] == "facts"
    # By the facts of its genre, the movie is nearest to movies of that genre.
    near = np.argsort(-(space.items[:-1] @ space.items[-1]))[:10]
    assert (near % GROUPS == (MOVIES - 1) % GROUPS).mean() > 0.5


def test_a_graph_without_side_relations_is_trained_once():
    graph = world(helps=True).weighted({"has_genre": 0.0})
    plan = TrainingPlan(graph, quick(side_relations="auto"))
    same, found = choose_side_relations(plan, torch.device("cpu"), None)
    assert same is graph
    assert (found.names, found.learned, found.figures) == ((), True, {})


def test_workers_learn_all_relations():
    with pytest.raises(ValidationError, match="side_relations must be always"):
        TrainSection(workers=2, side_relations="auto")
