"""The reason of a recommendation is the liked movie with the largest cosine to it."""

import numpy as np
import pytest

from kgspark.graph.histories import Histories
from kgspark.retrieval import reasons
from kgspark.retrieval.reasons import nearest_liked


def test_the_nearest_by_angle_not_by_length():
    items = np.float32([[1, 0], [0, 1], [100, 100], [2, 0.1], [0, 0]])
    liked = Histories(np.array([0, 3, 3, 4]), np.array([1, 2, 0, 4]))
    recommended = np.array([[3, 1, -1], [3, 1, 2], [3, -1, -1]])
    assert nearest_liked(items, recommended, liked).tolist() == [[0, 1, -1], [-1, -1, -1], [4, -1, -1]]


@pytest.mark.parametrize("floats", [1, 5000, 8_000_000])
def test_equals_cosines_computed_one_by_one(monkeypatch, floats):
    monkeypatch.setattr(reasons, "_FLOATS", floats)
    rng = np.random.default_rng(1)
    items = rng.standard_normal((300, 24), dtype=np.float32)
    sizes = np.minimum(rng.zipf(1.5, 80) - 1, 250)
    liked = Histories.from_sizes(sizes, rng.integers(0, 300, sizes.sum()))
    recommended = rng.integers(-1, 300, (80, 9))
    got = nearest_liked(items, recommended, liked, longest=60)
    unit = items / np.linalg.norm(items.astype(np.float64), axis=1, keepdims=True)
    for user in range(80):
        choices = liked.indices[liked.indptr[user] : liked.indptr[user + 1]][:60]
        for place, movie in enumerate(recommended[user]):
            if movie < 0 or not len(choices):
                assert got[user, place] == -1
            else:
                assert got[user, place] in choices
                assert unit[got[user, place]] @ unit[movie] == pytest.approx(
                    (unit[choices] @ unit[movie]).max(), abs=1e-6
                )
