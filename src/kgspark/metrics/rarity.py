"""Recall of what is rare: a mean over users is decided by popular movies, and says little about the others."""

from collections.abc import Mapping, Sequence

import numpy as np


def recall_by_popularity(
    lists: np.ndarray,
    hits: np.ndarray,
    wanted: np.ndarray,
    likes: np.ndarray,
    limits: tuple[int, int],
    ks: Sequence[int],
) -> Mapping[str, Mapping[str, float]]:
    """Share of the held-out likes found in the top K, by how many training likes their movie has.

    lists   int (U, K): movie positions; -1 where a list is shorter
    hits    bool (U, K): which of them are held-out likes
    wanted  int (n,): the movie of every held-out like
    likes   int (M,): training likes of every movie
    limits  likes from which a movie is no longer rare, and from which it is popular
    Returns, for each of `rare`, `common` and `popular` with a held-out like: `likes` and `recall@K`.
    """
    rare, popular = limits
    groups = {"rare": likes < rare, "common": (likes >= rare) & (likes < popular), "popular": likes >= popular}
    figures = {}
    for name, chosen in groups.items():
        if total := int(chosen[wanted].sum()):
            found = hits & chosen[lists]
            recalls = {f"recall@{k}": float(found[:, :k].sum() / total) for k in ks}
            figures[name] = {"likes": float(total)} | recalls
    return figures
