"""Pairs: distinct, sorted, and the same for any order of the rows."""

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kgspark.graph.triples import Pairs


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.1, 0.7, 1.0])), max_size=30))
@hypothesis_settings(max_examples=50, deadline=None)
def test_sorted_pairs_are_distinct_and_lose_no_weight(rows):
    heads, tails, weights = (np.array([row[i] for row in rows]) for i in range(3))
    heads, tails, weights = heads.astype(np.int64), tails.astype(np.int64), weights.astype(np.float32)
    pairs = Pairs.sort(heads, tails, weights)
    reversed_rows = Pairs.sort(heads[::-1], tails[::-1], weights[::-1])
    expected = {}
    for head, tail, weight in zip(heads.tolist(), tails.tolist(), weights.tolist(), strict=True):
        expected[head, tail] = expected.get((head, tail), 0.0) + weight
    keys = list(zip(pairs.heads.tolist(), pairs.tails.tolist(), strict=True))
    assert keys == sorted(expected)
    np.testing.assert_allclose(pairs.weights, [expected[key] for key in keys], rtol=1e-5)
    assert pairs.weights.tobytes() == reversed_rows.weights.tobytes()


def test_a_repeated_pair_keeps_its_latest_time():
    twice = Pairs.sort(np.array([0, 0]), np.array([3, 3]), np.ones(2, np.float32), np.array([7, 9]))
    assert (twice.times.tolist(), twice.weights.tolist()) == ([9], [2.0])
