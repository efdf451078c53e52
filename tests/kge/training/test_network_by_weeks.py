"""The network where held-out likes are of all times: trained on the likes before the past weeks, which judge it."""

import numpy as np
import pytest

from kgspark.graph.graph import Graph
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.training.training import Trained, train
from worlds.graphs import LIKED, in_order, settings

DAY = 86_400
USERS, MOVIES, LIKES, TURN = 60, 48, 36, 28
QUICK = {
    "dim": 16,
    "epochs": 3,
    "learning_rate": 0.01,
    "refit": "continue",
    "history": {"encoder": "network", "batch_size": 400, "network": {"blocks": 1, "epochs": 5, "dropout": 0.1}},
    "export": {"trend_weight": 0},
}


def world(turns: bool) -> tuple[Graph, np.ndarray]:
    """Users go round a ring of movies, one every four days, from anywhere; a fifth of all likes is held out.

    With a turn, everybody goes the other way after three quarters of the time. The last value is the movie that
    follows each user's last one.
    """
    order = np.random.default_rng(0).permutation(MOVIES)
    start = 11 * np.arange(USERS)[:, None]
    steps = np.arange(LIKES + 1)
    if turns:
        steps = np.where(steps < TURN, steps, MOVIES - 1 - (steps - TURN))  # back, from before the first one
    movies = order[(start + steps) % MOVIES]
    split = np.array(["train", "train", "train", "train", "valid"] * 2)[np.arange(USERS * LIKES) % 10]
    times = 10**9 + (4 * DAY * np.arange(LIKES) + np.arange(USERS)[:, None])
    return in_order(movies[:, :-1], MOVIES, split.reshape(USERS, LIKES), times), movies[:, -1]


def test_the_network_is_judged_by_weeks_that_it_has_not_learned_and_then_learns_them(tmp_path):
    graph, following = world(turns=False)
    trained = train(graph, settings(**QUICK), tmp_path)
    export = trained.settings.export
    assert (trained.settings.history.encoder, trained.encoder is None) == ("network", False)
    assert export.recent_share >= 0.2
    weeks = trained.past_weeks
    assert weeks["ndcg@10"] > weeks["ndcg@10_without"] + 0.1
    space = export_search_space(trained.model, graph, trained.settings, trained.evidence, trained.encoder)
    scores = space.queries @ space.items.T
    seen = graph.histories(LIKED, ("train", "valid", "test"))
    scores[seen.rows(), seen.indices] = -np.inf
    assert (scores.argmax(1) == following).mean() > 0.5  # one in twelve by chance


@pytest.mark.extended
def test_a_network_that_is_no_help_in_the_past_weeks_is_not_used(tmp_path):
    """Everything turns in the weeks that judge: who had learned them would find them."""
    graph, _ = world(turns=True)
    trained: Trained = train(graph, settings(**QUICK), tmp_path)
    assert trained.encoder is None
    assert trained.settings.export.recent_share == 0 or trained.settings.history.encoder == "latest"
    assert trained.settings.export.when == "unknown"
