"""Generated likes of any size, made at once in memory: a graph to time training on, larger than a data set."""

import numpy as np
from pydantic import Field, model_validator

from kgspark.config import Settings
from kgspark.entity_layout import MOVIE, USER, EntityLayout
from kgspark.kge.shards import Pairs, TripleSet
from kgspark.tables import TRAIN, Relation

# Popularity of the movie of rank r: 1 / (r + q)^s (Zipf–Mandelbrot), q a share of the catalogue, so that no movie is
# everybody's; activity of users is lognormal. About what MovieLens 25M looks like.
_ZIPF_EXPONENT, _ZIPF_OFFSET = 1.1, 1 / 500
_ACTIVITY_SPREAD = 1.1
# The first draw's surplus over what is wanted, in the place of the pairs that come twice.
_SURPLUS = 1.2


class GeneratedSettings(Settings):
    """How many likes of how many users and movies, and from which seed."""

    ratings: int = Field(0, ge=0, description="distinct pairs of user and movie, all likes; 0 for no such graph")
    users: int = Field(162_000, ge=1, description="users, of whom the idlest may have no rating")
    movies: int = Field(59_000, ge=1, description="movies, of which the rarest may have no rating")
    seed: int = Field(42, ge=0, description="of the pairs")
    negatives: int = Field(4096, ge=0, description="train.negatives there: tails sampled a step, 0 for all movies")

    @model_validator(mode="after")
    def _there_is_room(self) -> "GeneratedSettings":
        if 2 * self.ratings > self.users * self.movies:
            raise ValueError("generated.ratings must leave half of all pairs of user and movie free")
        return self


def generated_likes(settings: GeneratedSettings, target: str) -> tuple[TripleSet, EntityLayout, list[Relation]]:
    """Exactly `settings.ratings` distinct train triples of the relation `target`, all of weight 1, with their layout.

    The same settings give the same triples. Memory is some 90 bytes a rating while they are drawn.
    """
    layout = EntityLayout.from_counts([(USER, settings.users), (MOVIE, settings.movies)])
    users, movies = np.divmod(_distinct_pairs(settings), settings.movies)
    start = layout.range(MOVIE)[0]
    pairs = Pairs(users, movies + start, np.ones(len(users), np.float32))
    return TripleSet({(TRAIN, 0): pairs}), layout, [Relation(0, target, USER, MOVIE)]


def _distinct_pairs(settings: GeneratedSettings) -> np.ndarray:
    """Keys user · movies + movie, int64 (ratings,), ascending."""
    generator = np.random.default_rng(settings.seed)
    activity = generator.lognormal(sigma=_ACTIVITY_SPREAD, size=settings.users)
    places = generator.permutation(settings.movies)  # which rank a movie has: popularity must not follow the index
    exponent, keys = _ZIPF_EXPONENT, np.zeros(0, np.int64)
    while (missing := settings.ratings - len(keys)) > 0:
        popularity = (places + 1 + settings.movies * _ZIPF_OFFSET) ** -exponent
        drawn = _draw(generator, int(missing * _SURPLUS) + 1, activity, popularity)
        keys = np.sort(np.concatenate([keys, drawn]))
        # np.unique would hash the keys and then sort them, which takes several times as long.
        keys = keys[np.concatenate([[True], np.diff(keys) != 0])]
        # What is still missing belongs to users and movies whose likeliest pairs are taken: draw it more evenly.
        exponent, activity = exponent / 2, np.sqrt(activity)
    surplus = generator.choice(len(keys), len(keys) - settings.ratings, replace=False)
    return np.delete(keys, surplus)


def _draw(generator: np.random.Generator, count: int, activity: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """`count` keys of pairs, drawn with repetition: users by their activity, movies by their popularity."""
    sizes = generator.multinomial(count, activity / activity.sum())
    users = np.repeat(np.arange(len(activity)), sizes)
    edges = np.cumsum(popularity)
    movies = np.searchsorted(edges, generator.random(count) * edges[-1], side="right")
    return users * len(popularity) + np.minimum(movies, len(popularity) - 1)
