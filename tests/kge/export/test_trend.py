"""What is popular of late, and what the past weeks choose for tomorrow."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import TripleSet
from kgspark.kge.export.model_files import load_model, save_model
from kgspark.kge.export.past_weeks import PastWeeks
from kgspark.kge.export.search_space import export_search_space, trend_for
from kgspark.kge.export.trend import Trend, log_shares, with_trend
from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.training.training import Trained, train
from kgspark.search_space import pairwise_scores
from worlds.graphs import settings

DAY = 86_400
USERS, WEEKS, OLD = 150, 20, 60
# Movies of every week's fashion, after the movies that are always liked.
MOVIES = OLD + 3 * WEEKS
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES)])
LIKED = Relation(0, "liked", "user", "movie")
QUICK = {"dim": 16, "epochs": 3, "learning_rate": 0.01, "refit": "continue", "history": {"encoder": "latest"}}


def world(fashion: bool, seed: int = 1) -> Graph:
    """Users like a few movies per week for twenty weeks; with fashion, most of them are the week's three movies.

    A fashion lasts two weeks: half of the likes of a week go to the movies of the week before. A fifth of all likes, of
    all times, is held out.
    """
    generator = np.random.default_rng(seed)
    rows: dict[tuple[int, int], int] = {}
    for week in range(WEEKS):
        for user in generator.permutation(USERS)[: USERS // 2]:
            for _ in range(3):
                of_week = OLD + 3 * max(0, week - generator.integers(2)) + generator.integers(3)
                anything = generator.integers(MOVIES)
                movie = of_week if fashion and generator.random() < 0.7 else anything
                rows.setdefault((user, movie), (week * 7 + generator.integers(7)) * DAY)
    pairs, times = np.array(list(rows)), np.array(list(rows.values()))
    order = np.argsort(pairs[:, 0], kind="stable")
    split = np.array(["train", "train", "train", "train", "valid", "train", "train", "train", "train", "test"])
    columns = {
        "head": pairs[order, 0],
        "relation": np.zeros(len(order), np.int32),
        "tail": USERS + pairs[order, 1],
        "split": split[np.arange(len(order)) % len(split)],
        "weight": np.ones(len(order), np.float32),
        "timestamp": times[order] + 1,
    }
    return Graph.from_columns(columns, LAYOUT, [LIKED])


def trained_on(graph: Graph, folder, **changes) -> Trained:
    folder.mkdir(exist_ok=True)
    return train(graph, settings(**{**QUICK, **changes}), folder)


def drifting() -> Graph:
    """Every user likes two movies per week of one of six groups, and goes on to another group after five weeks.

    A fifth of all likes, of all times, is held out.
    """
    generator = np.random.default_rng(1)
    in_a_group = MOVIES // 6
    rows = []
    for user in range(USERS):
        groups = generator.permutation(6)
        for phase in range(WEEKS // 5):
            liked = generator.permutation(in_a_group)[:10] + groups[phase] * in_a_group
            rows += [(user, movie, (phase * 35 + place // 2 * 7) * DAY + place) for place, movie in enumerate(liked)]
    head, movie, timestamp = np.array(rows).T
    columns = {
        "head": head,
        "relation": np.zeros(len(rows), np.int32),
        "tail": USERS + movie,
        "split": np.array(["train", "train", "train", "train", "valid"] * 2)[np.arange(len(rows)) % 10],
        "weight": np.ones(len(rows), np.float32),
        "timestamp": timestamp + 1,
    }
    return Graph.from_columns(columns, LAYOUT, [LIKED])


@pytest.fixture(scope="module")
def in_fashion(tmp_path_factory) -> Trained:
    return trained_on(world(fashion=True), tmp_path_factory.mktemp("fashion"))


def shares_one_by_one(likes: Histories, movies: int, half_life: float, before: int) -> list[float]:
    """The formula, like by like."""
    known = [(int(m), int(t)) for m, t in zip(likes.indices, likes.times, strict=True) if t < before]
    recent = [sum(0.5 ** ((before - t) / DAY / half_life) for m, t in known if m == movie) for movie in range(movies)]
    counts = [sum(m == movie for m, _ in known) + 0.5 for movie in range(movies)]
    return [math.log((r + 100 * c / sum(counts)) / (sum(recent) + 100)) for r, c in zip(recent, counts, strict=True)]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 90)), min_size=1, max_size=30),
    st.sampled_from([3.0, 10.0]),
    st.one_of(st.none(), st.integers(2, 90)),
)
def test_log_shares_are_those_of_the_formula(given_likes, half_life, day):
    movies, days = zip(*given_likes, strict=True)
    likes = Histories.from_sizes([len(movies)], np.array(movies), times=np.array(days) * DAY)
    before = max(days) * DAY + 1 if day is None else day * DAY
    told = log_shares(likes, 5, half_life, None if day is None else before)
    # Likes of more than twenty half-lives ago are left out: each is less than a millionth of a like.
    assert told == pytest.approx(shares_one_by_one(likes, 5, half_life, before), abs=1e-5)


def test_what_counts_is_the_time_before_a_moment_not_the_order_of_the_likes():
    generator = np.random.default_rng(0)
    movies, times = generator.integers(0, 9, 200), generator.integers(0, 100 * DAY, 200)
    likes = Histories.from_sizes([50] * 4, movies, times=times)
    order = generator.permutation(200)
    shuffled = Histories.from_sizes([200], movies[order], times=times[order])
    np.testing.assert_allclose(log_shares(likes, 9, 7.0), log_shares(shuffled, 9, 7.0))
    earlier = Histories.from_sizes([(times < 50 * DAY).sum()], movies[times < 50 * DAY], times=times[times < 50 * DAY])
    now = 50 * DAY
    np.testing.assert_allclose(log_shares(likes, 9, 7.0, now), log_shares(earlier, 9, 7.0, now))
    with pytest.raises(ValueError, match="without times"):
        log_shares(Histories.of([[1, 2]]), 9, 7.0)


def test_a_trend_is_a_power_of_the_share_beside_the_models_softmax():
    """exp(score / σ) is that of the model times share^w, up to a factor that is the same for all movies of a user."""
    torch.manual_seed(2)
    queries, items = torch.randn(5, 6, dtype=torch.float64), F.normalize(torch.randn(8, 6, dtype=torch.float64))
    shares, weight, temperature = torch.rand(8, dtype=torch.float64), 1.5, 0.2
    longer, wider, metric = with_trend(queries, items, "l2", weight * temperature * shares.log())
    assert metric == "inner_product"
    own = (queries @ items.T / temperature).softmax(1)
    wanted = own * shares**weight
    torch.testing.assert_close((longer @ wider.T / temperature).softmax(1), wanted / wanted.sum(1, keepdim=True))
    assert with_trend(queries, items, "l2", None) == (queries, items, "l2")


def test_the_past_weeks_find_the_fashion_and_no_fashion_where_there_is_none(tmp_path, in_fashion):
    chosen = in_fashion.settings.export
    assert chosen.trend_weight >= 1
    assert chosen.trend_half_life in (3, 7, 14)  # a fashion lasts two weeks
    weeks = in_fashion.to_json()["past_weeks"]
    assert weeks["ndcg@10"] > 1.3 * weeks["ndcg@10_without"]
    assert weeks["lists"] > 1_000
    timeless = trained_on(world(fashion=False), tmp_path / "timeless")
    assert (timeless.settings.export.trend_weight, timeless.settings.export.recent_share) == (0, 0)
    assert timeless.past_weeks == {}
    space = export_search_space(in_fashion.model, world(fashion=True), in_fashion.settings, in_fashion.evidence)
    listed = np.argsort(-(space.queries @ space.items.T), axis=1)[:, :10]
    of_late = listed >= OLD + 3 * (WEEKS - 3)
    plain = in_fashion.settings.with_export(trend_weight=0.0)
    without = export_search_space(in_fashion.model, world(fashion=True), plain, in_fashion.evidence)
    before = np.argsort(-(without.queries @ without.items.T), axis=1)[:, :10] >= OLD + 3 * (WEEKS - 3)
    assert of_late.mean() > 2 * before.mean()


def test_vectors_to_be_evaluated_have_no_trend_that_held_out_likes_precede(in_fashion):
    graph, evaluated = world(fashion=True), in_fashion.settings.model_copy(update={"refit_on": "train+valid"})
    plain = evaluated.with_export(trend_weight=0.0, recent_share=0.0)
    space, without = (
        export_search_space(in_fashion.model, graph, chosen, in_fashion.evidence) for chosen in (evaluated, plain)
    )
    np.testing.assert_array_equal(space.queries, without.queries)
    np.testing.assert_array_equal(space.items, without.items)
    assert space.metric == "l2"


def test_held_out_likes_of_all_times_are_measured_without_a_trend(tmp_path, in_fashion):
    plain = trained_on(world(fashion=True), tmp_path / "plain", export={"trend_weight": 0, "recent_share": 0})
    assert (in_fashion.valid, in_fashion.test) == (plain.valid, plain.test)


@pytest.mark.parametrize("encoder", ["sums", "latest"])
def test_the_past_weeks_find_a_drift_that_held_out_likes_of_all_times_cannot_show(tmp_path, encoder):
    graph, history = drifting(), {"history": {"encoder": encoder}}
    leaning = trained_on(graph, tmp_path / "leaning", **history)
    assert leaning.settings.export.recent_share >= 0.2
    assert (leaning.settings.history.encoder, leaning.encoder) == ("latest", None)  # nothing is trained for it
    plain = trained_on(graph, tmp_path / "plain", export={"recent_share": 0}, **history)
    assert leaning.valid == plain.valid
    space, straight = (
        export_search_space(each.model, graph, each.settings, each.evidence) for each in (leaning, plain)
    )
    assert not np.allclose(space.queries, straight.queries)


def later_likes_held_out() -> Graph:
    """The world with fashion, with the likes of its last two weeks as validation and test."""
    graph = world(fashion=True)
    likes = graph.histories(LIKED, ("train", "valid", "test"))
    rows, times = likes.rows(), likes.times
    days = (times - 1) // DAY
    split = np.where(days < 7 * (WEEKS - 2), "train", np.where(days < 7 * (WEEKS - 1), "valid", "test"))
    columns = {"head": rows, "relation": np.zeros(len(rows), np.int32), "tail": USERS + likes.indices, "split": split}
    weight = np.ones(len(rows), np.float32)
    return Graph.from_columns(columns | {"weight": weight, "timestamp": times}, LAYOUT, [LIKED])


def test_later_likes_are_measured_with_the_trend_before_them_and_do_not_choose_it(tmp_path):
    graph = later_likes_held_out()
    given = {"export": {"recent_share": 0}}
    trended = trained_on(graph, tmp_path / "trended", **given)
    plain = trained_on(graph, tmp_path / "plain", export={"trend_weight": 0, "recent_share": 0})
    assert trended.test["ndcg@10"] > 1.3 * plain.test["ndcg@10"]
    # The test likes choose nothing.
    parts = dict(graph.triples.parts)
    pairs = parts["test", LIKED.index]
    parts["test", LIKED.index] = dataclasses.replace(pairs, tails=USERS + (pairs.tails - USERS + 7) % OLD)
    other = trained_on(Graph(TripleSet(parts), LAYOUT, (LIKED,)), tmp_path / "other", **given)
    assert (other.settings.export, other.valid) == (trended.settings.export, trended.valid)
    assert other.test != trended.test


def test_no_list_of_a_past_week_knows_what_came_after_its_start():
    graph = world(fashion=True)
    likes = graph.histories(LIKED, ("train", "valid", "test"))
    torch.manual_seed(0)
    weeks = PastWeeks(torch.randn(USERS, 4), F.normalize(torch.randn(MOVIES, 4)), likes, settings()).weeks
    assert len(weeks) >= 12
    for week in weeks:
        assert week.known.times.max() < week.start
        assert (week.known.sizes > 0).all()
        assert ((week.wanted.times >= week.start) & (week.wanted.times < week.start + 7 * DAY)).all()
        assert len(week.queries) == len(week.known) == len(week.wanted)


def test_given_values_are_not_chosen(tmp_path):
    graph = world(fashion=False)
    export = trained_on(graph, tmp_path / "given", export={"trend_weight": 0.3, "trend_half_life": 5}).settings.export
    assert (export.trend_weight, export.trend_half_life) == (0.3, 5)
    half = trained_on(world(fashion=True), tmp_path / "half", export={"trend_weight": 0.3}).settings.export
    assert half.trend_weight == 0.3
    assert half.trend_half_life in (3, 7, 14)


def test_without_times_or_inner_products_there_is_no_trend(tmp_path):
    graph = world(fashion=True)
    parts = {key: dataclasses.replace(pairs, times=None) for key, pairs in graph.triples.parts.items()}
    timeless = trained_on(Graph(TripleSet(parts), LAYOUT, (LIKED,)), tmp_path / "timeless")
    assert timeless.settings.export.trend_weight == 0
    for changes in ({"model": "rotate"}, {"norm": 1}):
        with pytest.raises(ValidationError, match=r"export\.trend_weight is for models that rank by inner products"):
            settings(export={"trend_weight": 1}, **changes)
    rotate = trained_on(graph, tmp_path / "rotate", model="rotate", learning_rate=0.1)
    assert rotate.settings.export.trend_weight == 0


def test_the_model_file_has_the_trend_and_the_vectors_are_those_of_today(tmp_path, in_fashion):
    graph, chosen = world(fashion=True), in_fashion.settings
    path = tmp_path / "model.safetensors"
    trend = trend_for(graph, chosen)
    save_model(path, in_fashion.model, graph, chosen, in_fashion.evidence, trend=trend)
    saved = load_model(path)
    assert torch.equal(saved.trend, trend)
    space = export_search_space(saved.build(), graph, saved.settings, saved.evidence)
    _, items = target_vectors(in_fashion.model, graph, chosen)
    np.testing.assert_array_equal(space.items[:, -1], trend.numpy())
    assert space.width == items.shape[1]
    np.testing.assert_array_equal(space.items[:, :-1], items.numpy())
    pairs = np.arange(10), np.arange(10)
    by_hand = (space.queries[:10, :-1].astype(float) * items[:10].numpy()).sum(1) + trend[:10].numpy()
    np.testing.assert_allclose(pairwise_scores(space, *pairs), by_hand, rtol=1e-6)
    assert Trend(chosen.export.trend_weight, chosen.export.trend_half_life).trend_weight > 0
