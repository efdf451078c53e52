import numpy as np
import pytest

from kgspark.metrics.beyond_accuracy import beyond_accuracy, gini


def test_lists_that_were_counted_by_hand() -> None:
    lists = np.array([[0, 1], [0, 2], [0, -1]])
    figures = beyond_accuracy(lists, likes=np.array([4, 2, 1, 0]), users=4, ks=(1, 2))
    assert figures["coverage@1"] == 1 / 4
    assert figures["coverage@2"] == 3 / 4
    assert figures["novelty@1"] == 0.0  # everybody likes movie 0
    assert figures["novelty@2"] == pytest.approx((0 + 0 + 0 + 1 + 2) / 5)
    assert figures["gini@1"] == 3 / 4  # one of four movies has all positions


def test_gini_is_the_mean_difference_over_twice_the_mean() -> None:
    counts = np.random.default_rng(4).poisson(3, 60)
    differences = np.abs(counts[:, None] - counts).mean()
    assert gini(counts) == pytest.approx(differences / (2 * counts.mean()))
    assert gini(np.full(9, 3)) == pytest.approx(0)
    assert gini(np.zeros(5)) == 0
