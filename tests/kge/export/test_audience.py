"""Audiences rank users by scores that are comparable between users; every value is computed by brute force here."""

import numpy as np
import pytest
import torch

from kgspark.graph.histories import Histories
from kgspark.kge.export import audience
from kgspark.kge.export.audience import audience_space, log_partition
from kgspark.retrieval.index import build_index
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.topk import top_k, top_k_of_scores
from kgspark.search_space import Metric, SearchSpace, pairwise_scores
from worlds.graphs import DEVICE
from worlds.rankings import METRICS, unit_moduli

USERS, MOVIES, WIDTH, TEMPERATURE = 23, 40, 12, 0.4
LIKES = np.arange(USERS) % 9  # some users like nothing


def space_of(metric: Metric) -> SearchSpace:
    """Vectors like those of trained models: unit items for l2, unit moduli for modulus, which has an offset."""
    rng = np.random.default_rng(3)
    queries, items = (rng.standard_normal((rows, WIDTH)).astype(np.float32) for rows in (USERS, MOVIES))
    if metric == "l2":
        items /= np.linalg.norm(items, axis=1, keepdims=True)
    elif metric == "modulus":
        queries, items = unit_moduli(queries), unit_moduli(items)
    sources = np.arange(USERS, dtype=np.uint8) % 3, np.zeros(MOVIES, np.uint8)
    return SearchSpace(queries, items, *sources, metric, 7.0 if metric == "modulus" else 0.0, "model-1")


def comparable(space: SearchSpace, activity: float) -> SearchSpace:
    return audience_space(space, LIKES, TEMPERATURE, activity, torch.device(DEVICE))


def all_scores(space: SearchSpace) -> np.ndarray:
    """float64 (U, M), from the definition of the metric."""
    users, movies = len(space.queries), len(space.items)
    pairs = np.repeat(np.arange(users), movies), np.tile(np.arange(movies), users)
    return pairwise_scores(space, *pairs).reshape(users, movies)


def trained_scores(space: SearchSpace) -> np.ndarray:
    """s/σ, float64 (U, M): the scores in the softmax of the training."""
    if space.metric in ("inner_product", "l2"):
        return space.queries.astype(np.float64) @ space.items.astype(np.float64).T / TEMPERATURE
    return (all_scores(space) - space.offset) / TEMPERATURE


@pytest.mark.parametrize("metric", METRICS)
def test_the_partition_sums_over_all_movies_block_by_block(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "_BLOCK_SCORES", 5 * MOVIES + 1)  # five users at a time, three at the end
    space = space_of(metric)
    exact = np.log(np.exp(trained_scores(space)).sum(axis=1))
    np.testing.assert_allclose(log_partition(space, TEMPERATURE, torch.device(DEVICE)), exact, rtol=2e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_without_activity_a_score_is_the_logarithm_of_a_probability(metric: Metric) -> None:
    probabilities = np.exp(all_scores(comparable(space_of(metric), 0)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    expected = np.exp(trained_scores(space_of(metric)))
    np.testing.assert_allclose(probabilities, expected / expected.sum(axis=1, keepdims=True), rtol=2e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_activity_weighs_the_logarithm_of_the_number_of_likes(metric: Metric) -> None:
    none, half, whole = (all_scores(comparable(space_of(metric), activity)) for activity in (0, 0.5, 1))
    likes = np.log([max(count, 1) for count in LIKES])[:, None]
    np.testing.assert_allclose(half - none, np.tile(likes / 2, MOVIES), atol=3e-5)
    np.testing.assert_allclose(whole - none, np.tile(likes, MOVIES), atol=3e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_the_space_is_of_the_same_model_users_and_movies(metric: Metric) -> None:
    own = space_of(metric)
    space = comparable(own, 0.5)
    assert space.model_id == "model-1"
    assert (space.query_sources, space.item_sources) == (own.query_sources, own.item_sources)
    assert (space.queries.dtype, space.items.dtype) == (np.float32, np.float32)
    assert space.queries.shape == (USERS, WIDTH + (2 if metric == "modulus" else 1))
    # A number that is added to all scores of a user does not change the order of the user's movies.
    assert (np.argsort(-all_scores(space), axis=1) == np.argsort(-trained_scores(own), axis=1)).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_lists_are_all_scores_sorted(metric: Metric) -> None:
    space, rng = comparable(space_of(metric), 0.5), np.random.default_rng(5)
    rated = Histories.of([np.sort(rng.choice(USERS, rng.integers(0, 12), replace=False)) for _ in range(MOVIES)])
    index = build_index(space.queries, space.metric, space.offset)
    found, exact = top_k(index, space.items, rated, 6), top_k_of_scores(score_all(index, space.items), rated, 6)
    np.testing.assert_array_equal(found.ids, exact.ids)
    np.testing.assert_array_equal(found.scores, exact.scores)
    best = np.argsort(-np.where(rated_matrix(rated), -np.inf, all_scores(space).T), axis=1)[:, :6]
    np.testing.assert_array_equal(found.ids, best)


def rated_matrix(rated: Histories) -> np.ndarray:
    mask = np.zeros((MOVIES, USERS), bool)
    mask[rated.rows(), rated.indices] = True
    return mask


@pytest.mark.parametrize("activity", [0, 0.5, 1])
def test_a_user_without_taste_is_behind_everybody_who_has_it(activity: float) -> None:
    """Four groups of three users and five movies, and user 12 with a short vector and no like.

    By the model's own score user 12 is the nearest to every movie.
    """
    groups = np.eye(4, dtype=np.float32)
    queries = np.vstack([np.repeat(2 * groups, 3, axis=0), np.full((1, 4), 0.1, np.float32)])
    own = SearchSpace.learned(queries, np.repeat(groups, 5, axis=0), "l2")
    likes = np.array([4] * 12 + [0])
    nobody = Histories.empty(20)
    assert (top_k(build_index(own.queries, "l2"), own.items, nobody, 1).ids == 12).all()
    space = audience_space(own, likes, 0.14, activity, torch.device(DEVICE))
    audiences = top_k(build_index(space.queries, space.metric), space.items, nobody, 3).ids
    np.testing.assert_array_equal(audiences, np.repeat(np.arange(12).reshape(4, 3), 5, axis=0))


def test_who_likes_more_is_first_if_tastes_are_the_same() -> None:
    own = SearchSpace.learned(np.ones((3, 2), np.float32), np.eye(2, dtype=np.float32), "inner_product")
    likes = np.array([5, 50, 0])

    def order(activity: float) -> list[int]:
        space = audience_space(own, likes, 1.0, activity, torch.device(DEVICE))
        index = build_index(space.queries, space.metric)
        return list(map(int, top_k(index, space.items, Histories.empty(2), 3).ids[0]))

    assert order(0) == [0, 1, 2]  # equal scores are ordered by id
    assert order(0.5) == order(1) == [1, 0, 2]
