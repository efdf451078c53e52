import numpy as np
import pytest

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.peers import item_to_item, popularity
from kgspark.peers.settings import EaseSettings, ItemKnnSettings

USERS, MOVIES = 60, 25


def _likes(seed: int = 0) -> tuple[Histories, np.ndarray]:
    dense = np.random.default_rng(seed).random((USERS, MOVIES)) < np.linspace(0.02, 0.5, MOVIES)
    movies = np.nonzero(dense)[1]
    return Histories(np.concatenate([[0], dense.sum(axis=1).cumsum()]), movies), dense.astype(np.float64)


def test_ease_is_its_closed_form() -> None:
    likes, dense = _likes()
    inverse = np.linalg.inv(dense.T @ dense + 7 * np.eye(MOVIES))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    model = item_to_item.fit_ease(likes, MOVIES, EaseSettings(l2=7))
    users = np.array([3, 59, 3])
    np.testing.assert_allclose(model.scores(users), dense[users] @ expected, rtol=1e-4, atol=1e-6)


def test_ease_refuses_a_catalogue_whose_square_is_too_large() -> None:
    with pytest.raises(StageError, match="take it out of the list"):
        item_to_item.fit_ease(Histories.empty(3), 50_000, EaseSettings())


@pytest.mark.parametrize("block", [4, 1024])
def test_item_knn_keeps_the_most_similar_movies(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(item_to_item, "_BLOCK", block)
    likes, dense = _likes(1)
    shared = dense.T @ dense
    norms = np.sqrt(np.diag(shared))
    similarity = shared / (norms[:, None] * norms + 2)
    np.fill_diagonal(similarity, 0)
    for movie in range(MOVIES):
        similarity[movie, np.argsort(-similarity[movie], kind="stable")[5:]] = 0
    model = item_to_item.fit_item_knn(likes, MOVIES, ItemKnnSettings(neighbours=5, shrink=2))
    np.testing.assert_allclose(model.scores(np.arange(USERS)), dense @ similarity.T, rtol=1e-5, atol=1e-7)


def test_popularity_counts_likes() -> None:
    likes, dense = _likes()
    scores = popularity.fit(likes, MOVIES).scores(np.array([0, 5]))
    np.testing.assert_array_equal(scores, np.tile(dense.sum(axis=0), (2, 1)))
