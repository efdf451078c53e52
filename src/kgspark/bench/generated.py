"""Synthetic ratings in memory: a graph to train on, and histories to leave out of lists."""

import numpy as np
from pydantic import Field

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import Pairs, TripleSet
from kgspark.synthetic import SyntheticSettings, SyntheticWorld
from kgspark.tables import TRAIN


class GeneratedSettings(SyntheticSettings):
    """A synthetic graph whose ratings are all likes; none by default."""

    ratings: int = Field(0, ge=0, description="distinct pairs of user and movie, all likes; 0 for no such graph")
    negatives: int = Field(4096, ge=0, description="train.negatives there: tails sampled per step, 0 for all movies")


def generated_likes(settings: GeneratedSettings, target: str) -> Graph:
    """Exactly `settings.ratings` distinct train triples of the relation `target`, all of weight 1.

    The same settings give the same triples.
    """
    layout = EntityLayout.from_counts([(USER, settings.users), (MOVIE, settings.movies)])
    likes = SyntheticWorld(settings).all_ratings()
    pairs = Pairs(likes.users, likes.movies + layout.range(MOVIE)[0], np.ones(len(likes.users), np.float32))
    return Graph(TripleSet({(TRAIN, 0): pairs}), layout, (Relation(0, target, USER, MOVIE),))


def generated_histories(settings: SyntheticSettings) -> Histories:
    """The movies that each user has rated, with a long tail of users."""
    seen = SyntheticWorld(settings).all_ratings()
    counts = np.bincount(seen.users, minlength=settings.users)
    return Histories(np.concatenate([[0], np.cumsum(counts)]), seen.movies)
