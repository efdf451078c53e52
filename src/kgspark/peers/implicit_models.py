"""ALS and BPR of the library implicit, as vectors that are ranked and evaluated exactly as ours."""

from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking

from kgspark.peers.baselines import Likes
from kgspark.peers.item_to_item import like_matrix
from kgspark.search_space import SearchSpace


def fit_als(likes: Likes) -> SearchSpace:
    """Confidence-weighted ALS (Hu, Koren and Volinsky 2008)."""
    settings = likes.settings.implicit_als
    model = AlternatingLeastSquares(
        factors=settings.factors,
        iterations=settings.iterations,
        alpha=settings.alpha,
        regularization=settings.regularization,
        random_state=likes.seed,
    )
    return _fit(model, likes)


def fit_bpr(likes: Likes) -> SearchSpace:
    """Bayesian personalised ranking (Rendle et al. 2009)."""
    settings = likes.settings.implicit_bpr
    model = BayesianPersonalizedRanking(
        factors=settings.factors,
        iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        regularization=settings.regularization,
        random_state=likes.seed,
    )
    return _fit(model, likes)


def _fit(model: Any, likes: Likes) -> SearchSpace:
    model.fit(like_matrix(likes.by_user, likes.movies), show_progress=False)
    users, movies = (np.asarray(part, np.float32) for part in (model.user_factors, model.item_factors))
    return SearchSpace.learned(users, movies, "inner_product")
