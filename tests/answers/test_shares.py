"""Shares of a score: exact where the query is a function of likes, and always with the score as their sum."""

import numpy as np
import pytest

from kgspark.answers.shares import shares_of, usable
from kgspark.fold_in import FoldIn, QueryFunction
from kgspark.graph.histories import Histories
from kgspark.search_space import Metric, SearchSpace, pairwise_scores

WIDTH, MOVIES = 4, 12
LIKES = Histories.from_sizes([3], np.array([2, 5, 9]), times=np.array([30, 10, 20]))


def world(metric: Metric, share: float, trend: bool = False) -> tuple[SearchSpace, QueryFunction]:
    """A space whose only query is the function of `LIKES`."""
    draw = np.random.default_rng(3)
    items = draw.normal(size=(MOVIES, WIDTH)).astype(np.float32)
    if trend:
        items = np.concatenate([items, draw.random((MOVIES, 1)).astype(np.float32)], axis=1)
    function = QueryFunction(draw.normal(size=(2 * WIDTH + 1, WIDTH)).astype(np.float32), share, 1.5, "latest")
    sources = np.full(MOVIES, 2, np.uint8)
    empty = np.zeros((1, items.shape[1]), np.float32)
    space = SearchSpace(
        empty, items, sources[:1], sources, metric, 0.5 if metric != "inner_product" else 0.0, "m", WIDTH
    )
    queries = FoldIn(space, None, function).queries(LIKES)
    return SearchSpace(queries, items, sources[:1], sources, metric, space.offset, "m", WIDTH), function


@pytest.mark.parametrize("share", [0.0, 0.35, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("trend", [False, True])
def test_an_inner_product_of_likes_is_divided_without_a_rest_but_for_the_constant(share: float, trend: bool) -> None:
    space, function = world("inner_product", share, trend)
    for movie in range(MOVIES):
        found = shares_of(space, function, 0, movie, LIKES)
        score = float(pairwise_scores(space, np.array([0]), np.array([movie]))[0])
        item = space.items[movie].astype(np.float64)
        assert found.score == score
        assert found.likes.sum() + found.trend + found.rest == pytest.approx(score, abs=1e-9)
        assert found.rest == pytest.approx((1 - share) * function.weights[2 * WIDTH] @ item[:WIDTH], abs=1e-4)
        assert found.trend == pytest.approx(item[WIDTH] if trend else 0.0)


def test_the_latest_like_has_the_largest_share_of_what_leans() -> None:
    """All of the query comes from the latest likes, so each share is w_j t_j · t, up to the query's length."""
    space, function = world("inner_product", 1.0)
    items, weights = space.items.astype(np.float64), np.array([1, 0.25 ** (1 / 1.5), 0.5 ** (1 / 1.5)])
    found = shares_of(space, function, 0, 7, LIKES)
    expected = weights * (items[[2, 5, 9]] @ items[7])
    np.testing.assert_allclose(found.likes / found.likes[0], expected / expected[0], rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.35])
def test_a_distance_is_divided_and_the_lengths_are_the_rest(share: float) -> None:
    space, function = world("l2", share)
    query, items = space.queries[0].astype(np.float64), space.items.astype(np.float64)
    for movie in range(MOVIES):
        found = shares_of(space, function, 0, movie, LIKES)
        distance = np.linalg.norm(query - items[movie])
        constant = (1 - share) * function.weights[2 * WIDTH].astype(np.float64)
        rest = 0.5 + (2 * constant @ items[movie] - query @ query - items[movie] @ items[movie]) / distance
        assert found.score == pytest.approx(0.5 - distance)
        assert found.likes.sum() + found.rest == pytest.approx(found.score, abs=1e-9)
        assert found.rest == pytest.approx(rest, abs=1e-4)


def test_what_is_no_function_of_likes_is_not_divided() -> None:
    space, function = world("inner_product", 0.35, trend=True)
    sums = SearchSpace(
        space.queries[:, :WIDTH], space.items[:, :WIDTH], space.query_sources, space.item_sources, "l1", 0.5, "m", WIDTH
    )
    assert shares_of(sums, function, 0, 3, LIKES).likes.tolist() == [0, 0, 0]
    whole = shares_of(space, None, 0, 3, LIKES)
    assert whole.rest + whole.trend == whole.score
    assert whole.trend != 0
    assert shares_of(space, function, 0, 3, Histories.empty(1)).rest == whole.rest
    assert usable(function) is function
    assert usable(QueryFunction(function.weights, 0.5, 1.0, "network")) is None
    assert usable(QueryFunction(function.weights, 0.0, 1.0, "network")) is not None
