"""Recent popularity and the Markov chain, on likes whose order is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.peers import recent
from kgspark.peers.baselines import Likes
from kgspark.peers.settings import PeerSettings

DAY = 86_400


def _likes(movies: int, *users: Sequence[tuple[int, float]], timed: bool = True) -> Likes:
    """The likes (movie, day) of each user, sorted by movie as the graph has them."""
    rows = [sorted(user) for user in users]
    indices, days = (np.array([like[part] for row in rows for like in row]) for part in (0, 1))
    times = (days * DAY).astype(np.int64) if timed else None
    by_user = Histories.from_sizes([len(row) for row in rows], indices.astype(np.int64), times=times)
    return Likes(by_user, movies, PeerSettings(), seed=1, session=lambda: None)


def _order(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def test_recent_popularity_counts_the_last_30_days_and_then_all_others() -> None:
    # Movie 0 has three old likes, 1 and 2 have one recent like each, 2 also has an old one; 3 has one old like.
    likes = _likes(5, [(0, 10), (1, 95)], [(0, 20), (2, 100)], [(0, 70), (2, 60), (3, 50)])
    scores = recent.fit_popularity(likes).scores(np.array([0, 2]))
    assert [_order(row) for row in scores] == [[2, 1, 0, 3, 4]] * 2
    # 70 is exactly 30 days before the latest like, and so no longer recent; 71 would be.
    likes = _likes(2, [(0, 71), (1, 40)], [(1, 50)], [(1, 100), (0, 99)])
    assert _order(recent.fit_popularity(likes).scores(np.array([0]))[0]) == [0, 1]


def test_a_markov_chain_lists_what_follows_the_latest_like() -> None:
    # After 1 came 4 twice and 0 once; the last user liked 1 last, by time and not by number.
    likes = _likes(6, [(1, 5), (4, 6)], [(1, 2), (4, 3), (2, 4)], [(1, 8), (0, 9)], [(2, 1), (3, 2), (1, 7)], [])
    model = recent.fit_markov_chain(likes)
    scores = model.scores(np.array([3, 4]))
    assert scores.dtype == np.float32
    # The others, and all movies for a user without a like, are in the order of popularity.
    assert _order(scores[0]) == [4, 0, 1, 2, 3, 5]
    assert _order(scores[1]) == [1, 2, 4, 0, 3, 5]
    assert model.latest.tolist() == [4, 2, 0, 1, -1]


def test_likes_of_one_second_are_in_the_order_of_the_movies() -> None:
    model = recent.fit_markov_chain(_likes(3, [(2, 1), (0, 1), (1, 1)]))
    assert model.latest.tolist() == [2]
    assert sorted(zip(*model.follows.nonzero(), strict=True)) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("fit", [recent.fit_popularity, recent.fit_markov_chain])
def test_likes_without_times_are_one_line(fit: object) -> None:
    with pytest.raises(StageError, match="needs likes with times; take it out of the list"):
        fit(_likes(2, [(0, 1)], timed=False))
