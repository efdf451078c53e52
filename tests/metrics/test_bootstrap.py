import numpy as np
import pytest

from kgspark.metrics.bootstrap import intervals


def test_intervals_are_those_of_the_central_limit() -> None:
    values = np.random.default_rng(1).exponential(2.0, 4_000)
    low, high = intervals({"x": values}, 2_000, seed=3)["x"]
    reach = 1.96 * values.std() / np.sqrt(len(values))
    np.testing.assert_allclose([low, high], [values.mean() - reach, values.mean() + reach], atol=0.1 * reach)


def test_figures_share_their_resamples() -> None:
    values = np.random.default_rng(2).normal(size=300)
    found = intervals({"x": values, "again": values, "twice": 2 * values}, 500, seed=1)
    assert found["x"] == found["again"]
    np.testing.assert_allclose(found["twice"], 2 * np.array(found["x"]))


def test_nothing_to_resample() -> None:
    assert intervals({}, 10, seed=0) == {}
    assert intervals({"x": np.empty(0)}, 10, seed=0) == {}
    assert intervals({"x": np.ones(3)}, 0, seed=0) == {}


def test_values_of_one_user_are_drawn_together() -> None:
    """Copies of a user's value tell nothing new: the interval of the mean stays that of the users."""
    users = np.random.default_rng(4).permutation(np.repeat(np.arange(200), 5))
    of_user = np.random.default_rng(5).normal(size=200)
    together = intervals({"x": of_user[users]}, 1_000, seed=1, users=users)["x"]
    np.testing.assert_allclose(together, intervals({"x": of_user}, 1_000, seed=1)["x"])
    apart = intervals({"x": of_user[users]}, 1_000, seed=1)["x"]
    assert apart[1] - apart[0] < 0.6 * (together[1] - together[0])


def test_a_user_with_more_values_weighs_more() -> None:
    values, users = np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 3])
    low, high = intervals({"x": values}, 2_000, seed=1, users=users)["x"]
    assert (low, high) == (0, 1)
    found = intervals({"x": values}, 1, seed=6, fraction=0.0, users=users)["x"]
    draws = np.random.default_rng(6).poisson(1.0, 2)  # of users 3 and 7
    assert found[0] == pytest.approx(3 * draws[1] / (3 * draws[1] + draws[0]))
