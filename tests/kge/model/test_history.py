"""Queries from histories: the formula, users without likes, and ties."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgspark.graph.histories import Histories
from kgspark.kge.model.encoders import encoder_of
from kgspark.kge.model.history_sums import DecayedSums

MOVIES, WIDTH = 7, 3
HALF_LIVES = (0.5, 3.0)


def encoder(seed: int = 0) -> DecayedSums:
    generator = torch.Generator().manual_seed(seed)
    return DecayedSums({half_life: torch.randn(MOVIES, WIDTH, generator=generator) for half_life in HALF_LIVES})


def histories(users: list[list[tuple[int, int]]]) -> Histories:
    """Of pairs (time, movie) per user, in any order."""
    pairs = [pair for user in users for pair in user]
    times, movies = (np.array([pair[place] for pair in pairs], np.int64) for place in (0, 1))
    return Histories.from_sizes([len(user) for user in users], movies, times=times)


def expected(maps: DecayedSums, user: list[tuple[int, int]]) -> np.ndarray:
    """The formula of the module, in float64."""
    total = np.zeros(WIDTH)
    for half_life, table in maps.maps.items():
        weights = [2 ** (-place / half_life) for place in range(len(user))]
        length = sum(weight**2 for weight in weights) ** 0.5 + 0.3
        for weight, (_, movie) in zip(weights, sorted(user, reverse=True), strict=True):
            total += weight / length * table[movie].double().numpy()
    return total


users_of = st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, MOVIES - 1)), max_size=12), max_size=5)


@hypothesis.settings(deadline=None)
@given(users=users_of, seed=st.integers(0, 5))
def test_queries_follow_the_formula_whatever_the_order_of_rows(users, seed):
    maps = encoder(seed)
    found = maps.queries(histories(users))
    shuffled = maps.queries(histories([user[::-1] for user in users]))
    wanted = [expected(maps, user) for user in users]
    np.testing.assert_allclose(found.numpy(), np.reshape(wanted, (len(users), WIDTH)), atol=2e-5)
    assert torch.equal(found, shuffled)


def test_a_user_without_likes_has_no_query():
    found = encoder().queries(histories([[], [(1, 2)], []]))
    assert found[[0, 2]].eq(0).all()
    assert found[1].ne(0).all()


def test_a_very_long_history_counts_as_its_latest_likes():
    recent = [(1000 + place, place % MOVIES) for place in range(60)]
    long_ago = [(place, (3 * place) % MOVIES) for place in range(900)]
    alone, with_past = (encoder().queries(histories([user])) for user in (recent, long_ago + recent))
    torch.testing.assert_close(alone, with_past, atol=1e-4, rtol=1e-4)


def test_likes_without_times_have_no_order():
    with pytest.raises(ValueError, match="without times"):
        Histories.of([[1, 2]]).in_order()


def test_tables_of_a_model_file_give_the_same_encoder():
    again = encoder_of({**encoder().tables, "entities": torch.zeros(2, 2)})
    assert isinstance(again, DecayedSums)
    assert list(again.maps) == list(HALF_LIVES)
    assert all(torch.equal(again.maps[half_life], table) for half_life, table in encoder().maps.items())
    assert encoder_of({"entities": torch.zeros(2, 2)}) is None
