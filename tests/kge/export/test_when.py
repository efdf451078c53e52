"""The time that queries ask for: a world where what is chosen depends on the gap, and one where it does not."""

import numpy as np
import pytest

from kgspark.graph.asked import longest_break, noon_of
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.export.model_files import load_model, save_model
from kgspark.kge.export.recomputed import ModelFile
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.export.when import asked_by
from kgspark.kge.training.training import Trained, train
from kgspark.search_space import pairwise_scores
from worlds.graphs import LIKED, in_order, settings

DAY, NOON = 86_400, 43_200
USERS, SIDE, LIKES = 160, 12, 10
QUICK = {
    "dim": 16,
    "epochs": 3,
    "learning_rate": 0.01,
    "refit": "continue",
    "history": {"encoder": "network", "batch_size": 200, "network": {"blocks": 1, "epochs": 8, "dropout": 0.1}},
    "export": {"recent_share": 0.9, "trend_weight": 0},
}


def world(gaps_matter: bool) -> Graph:
    """A like of the same session is of the first half of the movies, and one of a later day of the second half.

    Whether a like is of a later day is drawn anew each time, so no history tells it. Otherwise halves are drawn, too.
    """
    draws = np.random.default_rng(0)
    later = draws.random((USERS, LIKES)) < 0.5
    halves = later if gaps_matter else draws.random((USERS, LIKES)) < 0.5
    ranks = draws.permuted(np.tile(np.arange(SIDE), (USERS, 2, 1)), axis=2)  # no movie twice
    movies = np.where(halves, SIDE + ranks[:, 1, :LIKES], ranks[:, 0, :LIKES])
    gaps = np.where(later, 3 * DAY + draws.integers(0, DAY, later.shape), 60)
    splits = np.array(["train"] * (LIKES - 2) + ["valid", "test"])
    return in_order(movies, 2 * SIDE, splits, 10**9 + gaps.cumsum(1))


def trained_on(graph: Graph, folder, **export) -> Trained:
    folder.mkdir(exist_ok=True)
    return train(graph, settings(**{**QUICK, "export": {**QUICK["export"], **export}}), folder)


@pytest.fixture(scope="module")
def asking(tmp_path_factory) -> Trained:
    return trained_on(world(gaps_matter=True), tmp_path_factory.mktemp("asking"))


def of_later_days(trained: Trained, graph: Graph, when: str = "tomorrow") -> float:
    """The fraction of users whose first unseen movie is one of later days."""
    published = trained.settings.with_export(when=when)
    space = export_search_space(trained.model, graph, published, trained.evidence, trained.encoder)
    scores = space.queries @ space.items.T
    seen = graph.histories(LIKED, ("train", "valid", "test"))
    scores[seen.rows(), seen.indices] = -np.inf
    return float((scores.argmax(1) >= SIDE).mean())


def test_published_lists_are_for_the_day_after_the_latest_like_where_that_is_better(asking):
    graph = world(gaps_matter=True)
    assert asking.settings.export.when == "tomorrow"
    figures = asking.later_days
    assert 60 < figures["users"] < 100
    assert figures["ndcg@10"] > figures["ndcg@10_without"] + 0.1
    assert of_later_days(asking, graph) > 0.9
    assert of_later_days(asking, graph, when="unknown") < 0.8


def test_nobody_could_have_asked_for_the_times_of_held_out_likes(asking):
    graph, known = world(gaps_matter=True), ("train", "valid")
    of_settings = [asking.settings.with_export(when=when) for when in ("tomorrow", "unknown")]
    model, evidence, encoder = asking.measured, asking.measured_evidence, asking.measured_encoder
    spaces = [export_search_space(model, graph, each, evidence, encoder, known) for each in of_settings]
    assert spaces[0].model_id == spaces[1].model_id


@pytest.mark.extended
def test_nothing_is_asked_where_gaps_say_nothing(tmp_path):
    trained = trained_on(world(gaps_matter=False), tmp_path)
    assert trained.settings.export.when == "unknown"
    assert trained.later_days["users"] > 60
    sums = trained_on(world(gaps_matter=False), tmp_path / "none", recent_share=0.0)
    assert (sums.settings.export.when, sums.later_days) == ("unknown", {})


def test_the_audit_asks_for_the_time_that_the_model_file_has(asking, tmp_path):
    graph, path = world(gaps_matter=True), tmp_path / "model.safetensors"
    save_model(path, asking.model, graph, asking.settings, asking.evidence, asking.encoder)
    likes = graph.histories(LIKED, ("train", "valid", "test"))
    assert load_model(path).asked == asked_by(likes, asking.settings)
    space = export_search_space(asking.model, graph, asking.settings, asking.evidence, asking.encoder)
    earliest = np.array([int(np.argmin(np.maximum.reduceat(likes.times, likes.indptr[:-1])))])  # asks for days
    owners, movies = np.zeros(5, np.int64), np.arange(5)
    scores = ModelFile.open(path).scores(earliest, owners, movies, likes.pick(earliest))
    np.testing.assert_allclose(scores, pairwise_scores(space, np.repeat(earliest, 5), movies), atol=1e-4)


def test_noon_of_tomorrow_is_of_the_latest_like_of_all_but_no_later_than_a_usual_break():
    asks = settings(export={"when": "tomorrow"})
    times = np.array([5 * DAY + 7, 9 * DAY, 9 * DAY + DAY - 1, 2 * DAY])
    likes = Histories.from_sizes([2, 0, 2], np.arange(4), times=times)
    assert noon_of(times).tolist() == [day * DAY + NOON for day in (5, 9, 9, 2)]
    asked = asked_by(likes, asks)
    assert asked is not None
    assert asked.time == 10 * DAY + NOON
    assert asked.longest_break == 4 * DAY - 7
    assert asked.of(likes).tolist() == [10 * DAY + NOON, 0, 10 * DAY + NOON]
    away = Histories.from_sizes([1, 1], np.arange(2), times=np.array([DAY, 9 * DAY]))
    assert asked.of(away).tolist() == [5 * DAY - 7, 10 * DAY + NOON]
    assert asked_by(likes, settings()) is None
    assert asked_by(Histories.empty(3), asks) is None
    usual = Histories.from_sizes([151], np.arange(151), times=np.arange(151) ** 2)
    assert longest_break(usual) == 2 * 50 + 1  # a hundred breaks are as long
