"""Recall by the popularity of movies, because popular movies dominate a mean over users."""

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
    """Fraction of the held-out likes that are in the top K, by the number of training likes of their movie.

    lists   int (U, K): movie positions; -1 at the end of a shorter list
    hits    bool (U, K): True for a held-out like
    wanted  int (n,): the movie of every held-out like
    likes   int (M,): training likes of every movie
    limits  number of likes from which a movie is no longer rare, and from which it is popular
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
