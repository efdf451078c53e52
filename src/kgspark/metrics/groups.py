"""Quality by groups: of users by the length of their history, and of movies by their popularity.

A group is a class of `EDGES`: its members have so many likes, and fewer than the next edge.
"""

from typing import Any

import numpy as np

EDGES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000)


def class_of(numbers: np.ndarray) -> np.ndarray:
    """The class of each number (n,), int64 (n,): a place in `EDGES`."""
    return np.searchsorted(EDGES, numbers, side="right") - 1


def by_history(ndcg: np.ndarray, likes: np.ndarray) -> list[dict[str, Any]]:
    """The mean NDCG of each class of users.

    ndcg   float64 (U,): of each user with a held-out like
    likes  int (U,): the number of likes that the model knows of the user
    Returns, for each class with a user: `class`, `users` and `ndcg`.
    """
    classes = class_of(likes)
    users, sums = np.bincount(classes), np.bincount(classes, ndcg)
    return [
        {"class": it, "users": int(users[it]), "ndcg": float(sums[it] / users[it])}
        for it in np.flatnonzero(users).tolist()
    ]


def by_popularity(found: np.ndarray, wanted: np.ndarray, likes: np.ndarray) -> list[dict[str, Any]]:
    """The share of the held-out likes that the lists found, of each class of movies.

    found   int (f,): the movie of each held-out like that is in its user's list
    wanted  int (w,): the movie of every held-out like
    likes   int (M,): the number of likes of each movie that the model knows
    Returns, for each class with a held-out like: `class`, `likes` and `recall`.
    """
    classes = class_of(likes)
    hits, all_of = (np.bincount(classes[movies], minlength=len(EDGES)) for movies in (found, wanted))
    return [
        {"class": it, "likes": int(all_of[it]), "recall": float(hits[it] / all_of[it])}
        for it in np.flatnonzero(all_of).tolist()
    ]


Groups = dict[str, list[dict[str, Any]]]


def groups_of(
    ndcg: np.ndarray, lists: np.ndarray, hits: np.ndarray, wanted: np.ndarray, history: np.ndarray, likes: np.ndarray
) -> Groups:
    """Both, as a manifest has them.

    ndcg, history  (U,) as in `by_history`; lists int (U, K) and hits bool (U, K) of the same users
    wanted, likes  as in `by_popularity`
    """
    return {
        "by_history": by_history(ndcg, history),
        "by_popularity": by_popularity(lists[hits], wanted, likes),
    }
