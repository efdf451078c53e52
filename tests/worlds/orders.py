"""Small graphs in which the order of the likes says what comes next."""

from pathlib import Path

import numpy as np

from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.kge.training.training import Trained, train
from worlds.graphs import in_order, settings

USERS, MOVIES, LIKES = 90, 30, 8
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES)])
ORDERED = {
    "dim": 16,
    "epochs": 6,
    "learning_rate": 0.01,
    "refit": "continue",
    "history": {"epochs": 30, "dropout": 0.1, "batch_size": 200},
}
NETWORK = {**ORDERED["history"], "encoder": "network", "network": {"blocks": 1, "epochs": 30, "dropout": 0.1}}


def in_a_ring() -> Graph:
    """Movie m is always followed by movie m + 1, from the last one on by the first; the last two likes are held out.

    Users begin anywhere and all movies are equally popular, so nothing but the order says what comes next.
    """
    order = np.random.default_rng(0).permutation(MOVIES)  # indices say nothing about the order
    start = np.arange(USERS)[:, None] * 7
    movies = order[(start + np.arange(LIKES)) % MOVIES]
    splits = np.array(["train"] * (LIKES - 2) + ["valid", "test"])
    return in_order(movies, MOVIES, splits, 100 + np.arange(LIKES))


def trained(folder: Path, **changes) -> Trained:
    """A training of the ring."""
    folder.mkdir(exist_ok=True)
    return train(in_a_ring(), settings(**{**ORDERED, **changes}), folder)
