"""The baselines of an evaluation, fitted by name on the same likes as the model."""

import numpy as np

from kgspark.errors import ConfigError
from kgspark.experiments.held_out import HeldOut
from kgspark.experiments.recommender import Recommender
from kgspark.night.night import Night
from kgspark.peers import item_to_item, popularity
from kgspark.peers.settings import Baseline
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.search_space import SearchSpace
from kgspark.spark.session import usable_cores


def fit(night: Night, held_out: HeldOut, name: Baseline) -> Recommender:
    """The named baseline; ConfigError where its package is not installed."""
    train, movies, peers = held_out.train, held_out.movies, night.settings.evaluate.peers
    if name == "popularity":
        return popularity.fit(train, movies)
    if name == "ease":
        return item_to_item.fit_ease(train, movies, peers.ease)
    if name == "item-knn":
        return item_to_item.fit_item_knn(train, movies, peers.item_knn)
    space = _mllib_als(night, held_out) if name == "mllib-als" else _implicit(night, held_out, name)
    return SpaceRecommender(space, usable_cores())


def _implicit(night: Night, held_out: HeldOut, name: Baseline) -> SearchSpace:
    try:
        from kgspark.peers import implicit_models
    except ImportError:
        raise ConfigError(f"evaluate.baselines: {name} needs the extra bench: pip install 'kgspark[bench]'") from None
    peers, seed = night.settings.evaluate.peers, night.settings.train.seed
    if name == "implicit-als":
        return implicit_models.fit_als(held_out.train, held_out.movies, peers.implicit_als, seed)
    return implicit_models.fit_bpr(held_out.train, held_out.movies, peers.implicit_bpr, seed)


def _mllib_als(night: Night, held_out: HeldOut) -> SearchSpace:
    from kgspark.peers import mllib_als
    from kgspark.spark.frames import pairs_frame

    train, als = held_out.train, night.settings.evaluate.peers.mllib_als
    likes = pairs_frame(night.spark, train.rows(), np.asarray(train.indices))
    model = mllib_als.fit(
        likes,
        rank=als.factors,
        iterations=als.iterations,
        alpha=als.alpha,
        regularization=als.regularization,
        seed=night.settings.train.seed,
    )
    return mllib_als.search_space(model, len(train), held_out.movies)
