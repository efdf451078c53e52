"""Synthetic likes, made at once in memory: a graph to time training on, larger than a data set."""

import numpy as np
from pydantic import Field

from kgspark.graph.graph import Graph
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import Pairs, TripleSet
from kgspark.synthetic import SyntheticSettings, SyntheticWorld
from kgspark.tables import TRAIN


class GeneratedSettings(SyntheticSettings):
    """A synthetic graph whose ratings are likes, all of them; none by default."""

    ratings: int = Field(0, ge=0, description="distinct pairs of user and movie, all likes; 0 for no such graph")
    negatives: int = Field(4096, ge=0, description="train.negatives there: tails sampled a step, 0 for all movies")


def generated_likes(settings: GeneratedSettings, target: str) -> Graph:
    """Exactly `settings.ratings` distinct train triples of the relation `target`, all of weight 1.

    The same settings give the same triples.
    """
    world = SyntheticWorld(settings)
    layout = EntityLayout.from_counts([(USER, settings.users), (MOVIE, settings.movies)])
    start = layout.range(MOVIE)[0]
    sizes = world.block_sizes(np.array([world.block_weight(block) for block in range(world.blocks)]))
    drawn = [world.ratings(block, int(size)) for block, size in enumerate(sizes)]
    users, movies = (np.concatenate([getattr(part, name) for part in drawn]) for name in ("users", "movies"))
    pairs = Pairs(users, movies + start, np.ones(len(users), np.float32))
    return Graph(TripleSet({(TRAIN, 0): pairs}), layout, (Relation(0, target, USER, MOVIE),))
