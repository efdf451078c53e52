"""Generated likes: the wanted number, each pair once, within their ranges, and the same for the same seed."""

import numpy as np
import pytest
from pydantic import ValidationError

from kgspark.bench.generated import GeneratedSettings, generated_likes
from kgspark.tables import TRAIN


def pairs_of(**size):
    settings = GeneratedSettings.model_validate(size)
    graph = generated_likes(settings, "liked")
    layout = graph.layout
    assert [(relation.index, relation.name) for relation in graph.relations] == [(0, "liked")]
    assert (layout.range("user"), layout.size) == ((0, settings.users), settings.users + settings.movies)
    assert list(graph.triples.parts) == [(TRAIN, 0)]
    return graph.pairs(graph.relations[0])


@pytest.mark.parametrize(
    ("ratings", "users", "movies"),
    [(20_000, 1_000, 500), (1, 1, 2), (50, 10, 10), (2_000, 100, 40), (300, 600, 1), (300, 1, 600)],
)
def test_exactly_the_wanted_pairs_each_once_and_sorted(ratings, users, movies):
    """Also if half of all pairs are drawn, so that the likely pairs are drawn many times."""
    pairs = pairs_of(ratings=ratings, users=users, movies=movies)
    assert len(pairs) == ratings
    assert pairs.heads.min() >= 0
    assert pairs.heads.max() < users
    assert users <= pairs.tails.min()
    assert pairs.tails.max() < users + movies
    assert (np.diff(pairs.heads * (users + movies) + pairs.tails) > 0).all()
    assert pairs.weights.tolist() == [1.0] * ratings


def test_the_seed_decides():
    size = {"ratings": 5_000, "users": 300, "movies": 200}
    first, again, other = (pairs_of(**size, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.heads, again.heads)
    assert np.array_equal(first.tails, again.tails)
    assert not np.array_equal(first.tails, other.tails)


def test_a_few_movies_have_most_likes_at_random_positions():
    pairs = pairs_of(ratings=100_000, users=5_000, movies=2_000)
    counts = np.bincount(pairs.tails - 5_000, minlength=2_000)
    top = np.sort(counts)[::-1]
    assert top[:200].sum() > 0.5 * counts.sum()  # a tenth of the catalogue
    assert top[0] < 5_000  # but no movie is liked by everybody
    assert abs(np.corrcoef(np.arange(2_000), counts)[0, 1]) < 0.1


def test_more_than_half_of_all_pairs_is_refused():
    with pytest.raises(ValidationError, match="leave half"):
        GeneratedSettings(ratings=51, users=10, movies=10)
