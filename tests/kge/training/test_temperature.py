"""The temperature is chosen where validation likes are later than all others, and nowhere else."""

import numpy as np
import pytest
import torch

from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.temperature import choose_temperature
from worlds import orders
from worlds.graphs import settings

USERS, GROUPS, MOVIES, POPULAR, LIKES = 120, 6, 120, 10, 12
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES)])
LIKED = Relation(0, "liked", "user", "movie")


def world(taste_lasts: bool, split: str) -> Graph:
    """Users like movies of their group, and some that all like. Later, they like only one of these two kinds."""
    draws, rows = np.random.default_rng(0), []
    for user in range(USERS):
        of_group = POPULAR + draws.permutation(np.arange(user % GROUPS, MOVIES - POPULAR, GROUPS))
        popular = draws.permutation(POPULAR)
        likes = [*of_group[:7], *popular[:3]]
        later = of_group[7:9] if taste_lasts else popular[3:5]
        rows += [(user, USERS + movie, place, "train") for place, movie in enumerate(likes)]
        rows += [(user, USERS + movie, 100 if split == "time" else 1, "valid") for movie in later]
    heads, tails, times, splits = (np.array(column) for column in zip(*rows, strict=True))
    columns = {"head": heads, "relation": np.zeros(len(rows), np.int32), "tail": tails, "split": splits}
    columns |= {"weight": np.ones(len(rows), np.float32), "timestamp": times.astype(np.int64) + 1}
    return Graph.from_columns(columns, LAYOUT, [LIKED])


def chosen(graph: Graph, **changes) -> tuple[float, dict[str, float]]:
    plan = TrainingPlan(graph, settings(**{"dim": 16, "epochs": 12, "learning_rate": 0.01, "softer": 3} | changes))
    after, figures = choose_temperature(plan, torch.device("cpu"), None)
    return after.temperature, figures


def test_a_softer_softmax_is_chosen_where_later_likes_are_found_better_by_it():
    """A sharp one keeps to the likes that it learned; here, the rest of the group follows."""
    temperature, figures = chosen(world(taste_lasts=True, split="time"))
    assert temperature == pytest.approx(3 * 0.14)
    assert figures["users"] == USERS
    assert figures["ndcg@10_softer"] > figures["ndcg@10"]


def test_else_the_temperature_is_that_of_the_recipe():
    temperature, figures = chosen(world(taste_lasts=False, split="time"))
    assert temperature == 0.14
    assert figures["ndcg@10_softer"] < figures["ndcg@10"]


def test_nothing_is_chosen_for_likes_of_all_times_or_if_it_is_not_asked_for():
    assert chosen(world(taste_lasts=True, split="random")) == (0.14, {})
    later = world(taste_lasts=True, split="time")
    assert chosen(later, softer=1) == chosen(later, softer=None) == (0.14, {})
    assert chosen(later, objective="margin")[1] == {}
    assert chosen(orders.in_a_ring()) == (0.14, {})  # one like of each user: the very next one
