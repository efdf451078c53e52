"""Synthetic ratings: the wanted number, the same in any process, with the planted structure."""

from dataclasses import fields

import numpy as np
import pytest
from pydantic import ValidationError

from kgspark import cli
from kgspark.synthetic import GENRES, Ratings, SyntheticSettings, SyntheticWorld


def world_of(**size):
    return SyntheticWorld(SyntheticSettings.model_validate(size))


def drawn(world, blocks):
    sizes = world.block_sizes(np.array([world.block_weight(block) for block in range(world.blocks)]))
    return {block: world.ratings(block, int(sizes[block])) for block in blocks}


@pytest.mark.parametrize(
    ("ratings", "users", "movies"),
    [(60_000, 9_000, 500), (1, 1, 2), (50, 10, 10), (10_000, 200, 100), (300, 600, 1), (300, 1, 600)],
)
def test_exactly_the_wanted_pairs_each_once(ratings, users, movies):
    """Also if half of all pairs are drawn, so that the likely pairs are drawn many times."""
    world = world_of(ratings=ratings, users=users, movies=movies)
    found = world.all_ratings()
    assert len(found.users) == ratings
    assert (np.diff(found.users * movies + found.movies) > 0).all()
    assert found.users.min() >= 0
    assert found.users.max() < users
    assert found.movies.min() >= 0
    assert found.movies.max() < movies
    assert set(found.stars) <= set(range(1, 11))


def test_a_block_is_the_same_in_whichever_process_and_order_it_is_drawn():
    size = {"ratings": 50_000, "users": 10_000, "movies": 300, "seed": 3}
    straight, turned = drawn(world_of(**size), (0, 1, 2)), drawn(world_of(**size), (2, 1, 0))
    for block, one in straight.items():
        for field in fields(Ratings):
            assert np.array_equal(getattr(one, field.name), getattr(turned[block], field.name))
    other = drawn(world_of(**size | {"seed": 4}), (0,))[0]
    assert not np.array_equal(straight[0].movies[:100], other.movies[:100])


def test_tails_are_long_and_independent_of_a_movies_number():
    found = world_of(ratings=200_000, users=5_000, movies=2_000).all_ratings()
    movies, users = (np.bincount(ids) for ids in (found.movies, found.users))
    assert np.sort(movies)[::-1][:200].sum() > 0.4 * len(found.users)  # a tenth of the catalogue
    assert abs(np.corrcoef(np.arange(len(movies)), movies)[0, 1]) < 0.1
    assert np.percentile(users, 99) > 8 * np.median(users)


def test_users_rate_more_of_their_genres_and_rate_them_higher_and_the_second_one_later():
    world = world_of(ratings=200_000, users=4_000, movies=2_000)
    found, taste = world.all_ratings(), world.taste(0)
    genre = world.genres[found.movies]
    first, second = (genre == taste[found.users, place] for place in (0, 1))
    second &= ~first
    others = (1 - first.mean() - second.mean()) / (len(GENRES) - 2)
    assert first.mean() > 1.3 * second.mean() > 4 * others
    assert found.stars[first].mean() - found.stars[~first & ~second].mean() > 1.5  # three quarters of a star
    begun = np.full(4_000, np.iinfo(np.int64).max)
    np.minimum.at(begun, found.users, found.times)
    since = found.times - begun[found.users]
    assert since[second].mean() > since[first].mean() + 0.3 * since.max()


def test_more_than_half_of_all_pairs_is_refused():
    with pytest.raises(ValidationError, match="leave half"):
        SyntheticSettings(ratings=51, users=10, movies=10)


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    assert cli.main(["generate", str(tmp_path), "ratings=10"]) == 65
    assert "exists already; remove it, or name another folder" in capsys.readouterr().err
    assert cli.main(["generate", str(tmp_path / "new"), "ratings=many"]) == 2
    assert "ratings" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
