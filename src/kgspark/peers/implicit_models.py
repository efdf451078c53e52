"""implicit's ALS and BPR, as vectors that are ranked and measured exactly as our own are."""

from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking

from kgspark.graph.histories import Histories
from kgspark.peers.item_to_item import matrix
from kgspark.peers.settings import AlsSettings, BprSettings
from kgspark.search_space import SearchSpace


def fit_als(likes: Histories, catalogue: int, settings: AlsSettings, seed: int) -> SearchSpace:
    """Confidence-weighted ALS (Hu, Koren and Volinsky 2008)."""
    model = AlternatingLeastSquares(
        factors=settings.factors,
        iterations=settings.iterations,
        alpha=settings.alpha,
        regularization=settings.regularization,
        random_state=seed,
    )
    return _fitted(model, likes, catalogue)


def fit_bpr(likes: Histories, catalogue: int, settings: BprSettings, seed: int) -> SearchSpace:
    """Bayesian personalised ranking (Rendle et al. 2009)."""
    model = BayesianPersonalizedRanking(
        factors=settings.factors,
        iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        regularization=settings.regularization,
        random_state=seed,
    )
    return _fitted(model, likes, catalogue)


def _fitted(model: Any, likes: Histories, catalogue: int) -> SearchSpace:
    model.fit(matrix(likes, catalogue), show_progress=False)
    users, movies = (np.asarray(part, np.float32) for part in (model.user_factors, model.item_factors))
    return SearchSpace.learned(users, movies, "inner_product")
