"""The baselines equal their formulas, and can be found by name."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from kgspark.errors import ResourceError, StageError
from kgspark.graph.histories import Histories
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.peers import item_to_item, popularity
from kgspark.peers.baselines import BASELINES, Likes, fit_baseline
from kgspark.peers.settings import PeerSettings
from kgspark.search_space import SearchSpace

USERS, MOVIES = 60, 25


def _likes(seed: int = 0, **settings: Any) -> tuple[Likes, np.ndarray]:
    dense = np.random.default_rng(seed).random((USERS, MOVIES)) < np.linspace(0.02, 0.5, MOVIES)
    movies = np.nonzero(dense)[1]
    by_user = Histories(np.concatenate([[0], dense.sum(axis=1).cumsum()]), movies, times=1_000 * movies)
    return _given(by_user, MOVIES, **settings), dense.astype(np.float64)


def _given(by_user: Histories, movies: int, session: Any = None, **settings: Any) -> Likes:
    return Likes(by_user, movies, PeerSettings.model_validate(settings), seed=42, session=session)


def test_ease_is_its_closed_form() -> None:
    likes, dense = _likes(ease={"l2": 7})
    inverse = np.linalg.inv(dense.T @ dense + 7 * np.eye(MOVIES))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    model = item_to_item.fit_ease(likes)
    users = np.array([3, 59, 3])
    np.testing.assert_allclose(model.scores(users), dense[users] @ expected, rtol=1e-4, atol=1e-6)


def test_ease_refuses_a_catalogue_whose_square_is_too_large() -> None:
    with pytest.raises(StageError, match="take it out of the list"):
        item_to_item.fit_ease(_given(Histories.empty(3), 50_000))


@pytest.mark.parametrize("block", [4, 1024])
def test_item_knn_keeps_the_most_similar_movies(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(item_to_item, "_BLOCK", block)
    likes, dense = _likes(1, item_knn={"neighbours": 5, "shrink": 2})
    shared = dense.T @ dense
    norms = np.sqrt(np.diag(shared))
    similarity = shared / (norms[:, None] * norms + 2)
    np.fill_diagonal(similarity, 0)
    for movie in range(MOVIES):
        similarity[movie, np.argsort(-similarity[movie], kind="stable")[5:]] = 0
    model = item_to_item.fit_item_knn(likes)
    np.testing.assert_allclose(model.scores(np.arange(USERS)), dense @ similarity.T, rtol=1e-5, atol=1e-7)


def test_popularity_counts_likes() -> None:
    likes, dense = _likes()
    scores = popularity.fit(likes).scores(np.array([0, 5]))
    np.testing.assert_array_equal(scores, np.tile(dense.sum(axis=0), (2, 1)))


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_scores_the_whole_catalogue(name: str, spark: Any) -> None:
    few = {"factors": 4, "iterations": 2}
    sasrec = {"dim": 4, "epochs": 1}
    likes, _ = _likes(2, implicit_als=few, mllib_als=few, implicit_bpr=few, sasrec=sasrec)
    likes = replace(likes, session=lambda: spark)
    fitted = fit_baseline(name, likes)
    shape = (fitted.queries @ fitted.items.T).shape if isinstance(fitted, SearchSpace) else None
    assert (shape or fitted.scores(np.arange(USERS)).shape) == (USERS, MOVIES)


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    for module in ("implicit.als", "kgspark.peers.implicit_models"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ResourceError, match=r"implicit-als needs the extra bench: pip install 'kgspark\[bench\]'"):
        fit_baseline("implicit-als", _likes()[0])


def test_an_unknown_baseline_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="expected 'popularity', 'item-knn', 'ease'"):
        EvaluateSettings(baselines=("popularty",))
