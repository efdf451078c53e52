import numpy as np
import pytest

from kgspark.metrics.rarity import recall_by_popularity


def test_recall_is_counted_like_by_like_in_each_group_of_movies():
    """Movies 0 and 1 are rare, 2 is common, 3 and 4 popular; user 0 has test likes 0, 2 and 3, user 1 has 1 and 4."""
    likes = np.array([0, 9, 10, 100, 500])
    lists = np.array([[3, 0, 1], [2, 3, -1]])
    hits = np.array([[True, True, False], [False, False, False]])
    wanted = np.array([0, 2, 3, 1, 4])
    found = recall_by_popularity(lists, hits, wanted, likes, (10, 100), (1, 3))
    assert found == {
        "rare": {"likes": 2, "recall@1": 0, "recall@3": 0.5},
        "common": {"likes": 1, "recall@1": 0, "recall@3": 0},
        "popular": {"likes": 2, "recall@1": 0.5, "recall@3": 0.5},
    }


def test_a_group_that_nobody_wants_is_left_out():
    found = recall_by_popularity(np.array([[0]]), np.array([[True]]), np.array([0]), np.array([50]), (10, 100), (1,))
    assert list(found) == ["common"]
    assert found["common"]["recall@1"] == pytest.approx(1)
