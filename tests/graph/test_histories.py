"""Histories: lists of positions per query; every selection keeps the weights and times."""

from itertools import pairwise

import numpy as np
import pytest

from kgspark.graph.histories import Histories, batches_of_like_size


def lists(histories):
    return [part.tolist() for part in np.split(histories.indices, histories.indptr[1:-1])]


def made(sizes):
    """Histories whose n-th entry is position n, of weight n / 2 and time 2 n."""
    indices = np.arange(sum(sizes))
    return Histories.from_sizes(sizes, indices, (indices / 2).astype(np.float32), indices * 2)


def check_entries(histories):
    """Every entry still has its weight and time."""
    assert histories.weights.tolist() == (histories.indices / 2).tolist()
    assert histories.times.tolist() == (histories.indices * 2).tolist()


def test_lists_and_sizes_make_the_same_histories():
    by_lists = Histories.of([[2, 0, 1], [], np.array([1])])
    by_sizes = Histories.from_sizes([3, 0, 1], np.array([2, 0, 1, 1]))
    for histories in (by_lists, by_sizes):
        assert lists(histories) == [[2, 0, 1], [], [1]]
        assert histories.indptr.dtype == histories.indices.dtype == np.int64
        assert histories.entry_weights.tolist() == [1, 1, 1, 1]
        assert histories.rows().tolist() == [0, 0, 0, 2]
    assert len(Histories.of([])) == len(Histories.from_sizes([], np.empty(0, np.int64))) == 0


def test_picked_queries_keep_their_entries_in_order():
    picked = made([2, 0, 3, 1]).pick(np.array([2, 0, 2, 1]))
    assert lists(picked) == [[2, 3, 4], [0, 1], [2, 3, 4], []]
    check_entries(picked)
    assert len(made([2, 1]).pick(np.empty(0, np.int64))) == 0


def test_marked_entries_stay_with_their_query():
    kept = made([2, 0, 3, 1]).where(np.array([True, False, False, True, True, False]))
    assert lists(kept) == [[0], [], [3, 4], []]
    check_entries(kept)


def test_entries_within_chosen_positions_are_numbered_among_them():
    found = Histories.of([[7, 3, 5], [4], [3, 9]]).within(np.array([3, 7, 9]))
    assert lists(found) == [[1, 0], [], [0, 2]]
    assert len(Histories.of([[1], [2]]).within(np.empty(0, np.int64)).indices) == 0


def test_some_queries_keep_their_entries_and_the_others_none():
    counts = np.random.default_rng(1).integers(0, 4, 500)
    whole = made(counts)
    some = whole.limit(40)
    chosen = np.flatnonzero(some.sizes)
    assert (len(some), len(chosen)) == (500, 40)
    assert (some.sizes[chosen] == counts[chosen]).all()
    assert some.indices.tolist() == whole.pick(chosen).indices.tolist()
    check_entries(some)
    spread = np.searchsorted(np.flatnonzero(counts), chosen)
    assert np.diff(spread).max() - np.diff(spread).min() <= 1
    assert whole.limit(0) is whole.limit(500) is whole


def test_a_union_holds_the_entries_of_both():
    assert lists(Histories.of([[3, 1], []]) | Histories.of([[2], [5, 4]])) == [[1, 2, 3], [4, 5]]


def test_an_id_is_contained_in_its_own_list_alone():
    known = Histories.of([[1, 2], [0]])
    assert known.contains(np.array([[0, 1], [0, -1]])).tolist() == [[False, True], [True, False]]
    assert not Histories.empty(1).contains(np.array([[0]])).any()


def test_histories_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit 3 queries"):
        Histories.of([[0], [1]]).check(3, 2)
    with pytest.raises(ValueError, match="indptr is not increasing"):
        Histories(np.array([0, 2, 1]), np.array([0])).check(2, 2)


def test_a_limit_keeps_queries_that_are_spread_over_all() -> None:
    lists = Histories.of([[], [1], [2], [3], [], [4], [5]])
    assert lists.limit(3).sizes.tolist() == [0, 1, 0, 1, 0, 0, 1]
    assert lists.limit(3).indices.tolist() == [1, 3, 5]
    assert lists.limit(0) is lists
    assert lists.limit(5) is lists


def test_likes_are_in_order_of_time_then_position() -> None:
    times = np.array([30, 10, 10, 20, 5, 0])
    by_user = Histories.from_sizes([4, 0, 2], np.array([0, 2, 5, 7, 1, 3]), times=times)
    ordered = by_user.in_order()
    np.testing.assert_array_equal(ordered.indices, [2, 5, 7, 0, 3, 1])
    np.testing.assert_array_equal(by_user.in_order(latest_first=True).indices, [0, 7, 5, 2, 1, 3])
    np.testing.assert_array_equal(ordered.sizes, [4, 0, 2])


def test_batches_hold_every_row_once_beside_rows_of_like_size() -> None:
    draws = np.random.default_rng(0)
    sizes = draws.integers(1, 100, 500)
    rows = draws.permutation(500)[:400]
    batches = batches_of_like_size(rows, sizes, total=300, step=10)
    assert sorted(np.concatenate(batches)) == sorted(rows)
    ranges = [sizes[batch] // 10 for batch in batches]
    assert all(one.max() <= other.min() for one, other in pairwise(ranges))
    # The last row of a batch may reach into the next one's share.
    assert all(sizes[batch].sum() < 300 + 100 for batch in batches)
    assert batches_of_like_size(rows[:0], sizes, 300, 10) == []
