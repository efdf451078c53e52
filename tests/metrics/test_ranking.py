import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgspark.metrics.ranking import hit_matrix, means, ranking_metrics

NAMES = ("ndcg", "recall", "precision", "mrr", "map", "hit")


def _reference(ranked: list[int], held_out: set[int], k: int) -> dict[str, float]:
    """The metrics of one user, directly from the formulas, in Python."""
    hits = [i for i, movie in enumerate(ranked[:k], 1) if movie in held_out]
    ideal = sum(1 / math.log2(i + 1) for i in range(1, min(len(held_out), k) + 1))
    return {
        "ndcg": sum(1 / math.log2(i + 1) for i in hits) / ideal,
        "recall": len(hits) / len(held_out),
        "precision": len(hits) / k,
        "mrr": 1 / hits[0] if hits else 0.0,
        "map": sum(found / i for found, i in enumerate(hits, 1)) / min(len(held_out), k),
        "hit": float(bool(hits)),
    }


def _measure(ranked: list[list[int]], held_out: list[set[int]], catalogue: int, ks: tuple[int, ...]):
    width = max((len(movies) for movies in ranked), default=0)
    table = np.array([movies + [-1] * (width - len(movies)) for movies in ranked], dtype=np.int64).reshape(
        len(ranked), width
    )
    counts = np.array([len(movies) for movies in held_out], dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    flat = np.array([movie for movies in held_out for movie in movies], dtype=np.int64)
    hits = hit_matrix(table, indptr, flat, catalogue)
    return hits, counts, ranking_metrics(hits, counts, ks)


@st.composite
def _worlds(draw: st.DrawFn):
    catalogue = draw(st.integers(1, 12))
    movies = st.integers(0, catalogue - 1)
    users = draw(st.integers(1, 6))
    ranked = [draw(st.lists(movies, unique=True, max_size=catalogue)) for _ in range(users)]
    held_out = [draw(st.sets(movies, max_size=catalogue)) for _ in range(users)]
    ks = tuple(draw(st.lists(st.integers(1, 15), min_size=1, max_size=3, unique=True)))
    return ranked, held_out, catalogue, ks


@given(_worlds())
def test_equals_a_reference_user_by_user(world) -> None:
    ranked, held_out, catalogue, ks = world
    hits, counts, measured = _measure(ranked, held_out, catalogue, ks)
    for user, (movies, relevant) in enumerate(zip(ranked, held_out, strict=True)):
        assert [bool(hit) for hit in hits[user][: len(movies)]] == [movie in relevant for movie in movies]
        assert not hits[user][len(movies) :].any()
    asked = [user for user in range(len(ranked)) if held_out[user]]
    for k in ks:
        references = [_reference(ranked[user], held_out[user], k) for user in asked]
        for name in NAMES:
            np.testing.assert_allclose(
                measured[f"{name}@{k}"], [reference[name] for reference in references], rtol=1e-12
            )
            expected = np.mean([reference[name] for reference in references]) if asked else None
            assert means(ranking_metrics(hits, counts, ks)).get(f"{name}@{k}") == (
                pytest.approx(expected) if asked else None
            )


def test_a_hand_computed_list() -> None:
    # Hits at ranks 2 and 4; three movies were held out, one of them never recommended.
    _, _, measured = _measure([[7, 3, 9, 1, 0]], [{3, 1, 8}], 10, (1, 3, 5))
    assert measured["ndcg@5"][0] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 0.5))
    assert measured["recall@5"][0] == pytest.approx(2 / 3)
    assert measured["precision@5"][0] == pytest.approx(0.4)
    assert measured["mrr@5"][0] == pytest.approx(0.5)
    assert measured["map@5"][0] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert [measured[f"hit@{k}"][0] for k in (1, 3, 5)] == [0, 1, 1]
    assert measured["recall@3"][0] == pytest.approx(1 / 3)
    assert measured["ndcg@1"][0] == 0


def test_more_held_out_than_k_can_still_be_perfect() -> None:
    _, _, measured = _measure([[0, 1]], [{0, 1, 2, 3}], 5, (2,))
    assert measured["ndcg@2"][0] == measured["map@2"][0] == measured["precision@2"][0] == 1
    assert measured["recall@2"][0] == 0.5


def test_k_beyond_the_list_counts_the_missing_ranks_as_misses() -> None:
    _, _, measured = _measure([[4, 2]], [{2, 3}], 5, (10,))
    assert measured["precision@10"][0] == pytest.approx(0.1)
    assert measured["ndcg@10"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_users_without_held_out_movies_are_left_out_of_the_mean() -> None:
    hits, counts, measured = _measure([[0], [1], [2]], [{0}, set(), {1}], 3, (1,))
    assert measured["hit@1"].tolist() == [1, 0]
    assert means(ranking_metrics(hits, counts, (1,)))["hit@1"] == 0.5


def test_nobody_has_held_out_movies() -> None:
    hits, counts, measured = _measure([[0, 1], [1, 0]], [set(), set()], 2, (1,))
    assert not hits.any()
    assert means(ranking_metrics(hits, counts, (1,))) == {}
    assert all(len(values) == 0 for values in measured.values())


def test_a_missing_rank_is_not_taken_for_the_previous_users_last_movie() -> None:
    # The -1 of user 1 must not be read as the last movie of user 0, which is held out there.
    hits, _, _ = _measure([[0, 2], [1]], [{2}, {1}], 3, (2,))
    assert hits.tolist() == [[False, True], [True, False]]


def test_int32_lists_of_many_users_do_not_overflow() -> None:
    users, catalogue = 3, 2_000_000_000
    last = catalogue - 1
    ranked = np.full((users, 1), last, dtype=np.int32)
    hits = hit_matrix(ranked, np.arange(users + 1, dtype=np.int32), np.full(users, last, dtype=np.int32), catalogue)
    assert hits.all()
