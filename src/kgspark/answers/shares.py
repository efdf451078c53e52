"""Divides a score among the likes behind it.

The query of a user is, with the likes' items t_j, the function of likes (A, B, c) of `fold_in`, and the weights w_j of
`graph.decays`,

    q = Σ_j x_j + rest,   x_j = (1 − s) (A t_j / n + B t_j / √n) + s ‖q₀‖ w_j t_j / ‖Σ w t‖

Here q₀ is the query before it leaned towards the latest likes (`kge.export.recency`). The rest has the constant c, and
what the trained vector of the user has beyond the function of likes: nothing if the query was made from likes alone.

A score that is an inner product with the item t is linear in q, so like j has the share x_j · t. A distance d is not,
but d² = ‖q‖² + ‖t‖² − 2 q · t, so the score −d = (2 q · t − ‖q‖² − ‖t‖²) / d. Like j has the share 2 x_j · t / d, and
the lengths of both vectors belong to the rest. In both cases all shares and the rest together are the score.
"""

from dataclasses import dataclass

import numpy as np

from kgspark.fold_in import QueryFunction
from kgspark.graph.decays import recent_weights
from kgspark.graph.histories import Histories
from kgspark.search_space import SearchSpace, pairwise_scores


@dataclass(frozen=True)
class Shares:
    """A score in parts, which together are the score.

    score   float, of the model
    likes   float64 (n,): the share of each like
    trend   what the movie has because it is popular of late; 0 without a trend
    rest    the rest of the query
    divided  False if the score is no function of likes, or if there are none: then `rest` and `trend` are all of it
    """

    score: float
    likes: np.ndarray
    trend: float
    rest: float
    divided: bool


def shares_of(space: SearchSpace, function: QueryFunction | None, user: int, movie: int, likes: Histories) -> Shares:
    """The shares of the n likes of one user, the only one of `likes`, in the score of a movie.

    function  of the night's queries; None if there is none, or if it needs a trained encoder: all is the rest then
    """
    score = float(pairwise_scores(space, np.array([user]), np.array([movie]))[0])
    width = space.scoring.width
    query, item = (np.asarray(side[row], np.float64) for side, row in ((space.queries, user), (space.items, movie)))
    trend = float(query[width:] @ item[width:]) if space.metric == "inner_product" else 0.0
    direction = _direction(space, query[:width], item[:width])
    if function is None or direction is None or not len(likes.indices):
        return Shares(score, np.zeros(len(likes.indices)), trend, score - trend, False)
    parts = _parts(space, function, query[:width], likes)
    shares = parts @ direction
    return Shares(score, shares, trend, score - trend - float(shares.sum()), True)


def usable(function: QueryFunction) -> QueryFunction | None:
    """The function, if a query needs nothing but it; None if queries lean by a trained encoder."""
    return None if function.share and function.encoder != "latest" else function


def _direction(space: SearchSpace, query: np.ndarray, item: np.ndarray) -> np.ndarray | None:
    """What a part of the query is multiplied with, float64 (width,); None for sums of distances."""
    if space.metric == "inner_product":
        return item
    if space.metric == "l2":
        return np.asarray(2 * item / max(float(np.linalg.norm(item - query)), 1e-12))
    return None


def _parts(space: SearchSpace, function: QueryFunction, query: np.ndarray, likes: Histories) -> np.ndarray:
    """x_j float64 (n, width)."""
    width, count = len(query), len(likes.indices)
    items = np.asarray(space.items[likes.indices, :width], np.float64)
    mean, root = (function.weights[rows].astype(np.float64) for rows in (slice(0, width), slice(width, 2 * width)))
    of_all = items @ mean / count + items @ root / np.sqrt(count)
    if not function.share or likes.times is None:
        return np.asarray(of_all)
    weighted = items * recent_weights(likes, function.half_life)[:, None]
    towards = weighted / max(float(np.linalg.norm(weighted.sum(axis=0))), 1e-12)
    folded = of_all.sum(axis=0) + function.weights[2 * width]
    length = _length_before(query, towards.sum(axis=0), function.share, float(np.linalg.norm(folded)))
    return np.asarray((1 - function.share) * of_all + function.share * length * towards)


def _length_before(query: np.ndarray, towards: np.ndarray, share: float, likely: float) -> float:
    """a = ‖q₀‖ of q = (1 − s) q₀ + s a r with ‖r‖ = 1: (2 s − 1) a² − 2 s (q · r) a + ‖q‖² = 0.

    For s > ½ there may be two solutions: then the one that is nearer to `likely`, the length by the function of likes.
    """
    square, linear, constant = 2 * share - 1, -2 * share * float(query @ towards), float(query @ query)
    roots = np.roots([square, linear, constant] if abs(square) > 1e-9 else [linear, constant])
    real = [float(root.real) for root in roots if abs(root.imag) < 1e-6 * max(abs(root), 1e-12) and root.real > 0]
    return min(real, key=lambda root: abs(root - likely), default=likely)
