import numpy as np

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
