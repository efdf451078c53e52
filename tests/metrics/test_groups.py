"""Quality by groups equals a grouping by pandas."""

import numpy as np
import pandas as pd

from kgspark.metrics.groups import EDGES, by_history, by_popularity, class_of, groups_of


def test_a_class_begins_at_its_edge() -> None:
    assert class_of(np.array([0, 1, 2, 4, 5, 9, 10, 999, 1000, 10**9])).tolist() == [0, 1, 2, 2, 3, 3, 4, 9, 10, 17]
    assert class_of(np.array(EDGES)).tolist() == list(range(len(EDGES)))


def test_users_are_grouped_by_their_likes() -> None:
    rng = np.random.default_rng(3)
    ndcg, likes = rng.random(500), rng.integers(0, 300, 500)
    means = pd.Series(ndcg).groupby(pd.cut(likes, [*EDGES, np.inf], right=False, labels=False)).agg(["size", "mean"])
    found = by_history(ndcg, likes)
    assert [it["class"] for it in found] == list(means.index)
    assert [it["users"] for it in found] == list(means["size"])
    np.testing.assert_allclose([it["ndcg"] for it in found], means["mean"])


def test_held_out_likes_are_grouped_by_their_movie() -> None:
    """Movie 0 has no like, 1 has 3, 2 has 700. Of four held-out likes of movie 2, the lists found three."""
    likes, lists = np.array([0, 3, 700]), np.array([[2, 1], [2, 0], [2, -1], [0, 1]])
    hits = np.array([[True, False], [True, True], [True, False], [False, False]])
    wanted = np.array([2, 2, 0, 2, 2, 1])
    assert by_popularity(lists[hits], wanted, likes) == [
        {"class": 0, "likes": 1, "recall": 1.0},
        {"class": 2, "likes": 1, "recall": 0.0},
        {"class": 9, "likes": 4, "recall": 0.75},
    ]
    groups = groups_of(np.ones(4), lists, hits, wanted, np.array([1, 1, 5, 5]), likes)
    assert groups["by_popularity"] == by_popularity(lists[hits], wanted, likes)
    assert [it["users"] for it in groups["by_history"]] == [2, 2]


def test_nothing_held_out_has_no_groups() -> None:
    none = np.empty(0, np.int64)
    assert by_history(np.empty(0), none) == by_popularity(none, none, np.arange(3)) == []
