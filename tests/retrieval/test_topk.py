"""Every list equals all scores sorted without the seen rows: random worlds, ties, heavy users, wrong inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.retrieval import topk
from kgspark.retrieval.index import build_index
from kgspark.retrieval.scores import score_all, score_pairs
from kgspark.retrieval.topk import Ranking, top_k
from kgspark.search_space import pairwise_scores
from worlds.rankings import METRICS, World, brute_force, random_world, unit_moduli


def rank(world: World, threads: int = 1) -> Ranking:
    index = build_index(world.space.items, world.space.metric, world.space.offset, threads)
    return top_k(index, world.space.queries, world.seen, world.k)


def lists(ranking: Ranking) -> list[list[int]]:
    return [ids[:count].tolist() for ids, count in zip(ranking.ids, ranking.counts, strict=True)]


def check_world(world: World) -> None:
    ranking = rank(world)
    index = build_index(world.space.items, world.space.metric, world.space.offset)
    published = score_all(index, world.space.queries)
    assert lists(ranking) == brute_force(published, world.seen_sets(), world.k)
    filled = np.arange(world.k) < ranking.counts[:, None]
    assert (ranking.ids[~filled] == -1).all()
    assert np.isneginf(ranking.scores[~filled]).all()
    users, _ = np.nonzero(filled)
    truth = pairwise_scores(world.space, users, ranking.ids[filled])
    np.testing.assert_allclose(ranking.scores[filled], truth, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("start", range(0, 250, 50))
def test_equals_brute_force_on_a_thousand_random_worlds(metric, start):
    for seed in range(start, start + 50):
        check_world(random_world(metric, seed))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(METRICS), st.integers(100, 2**32), st.integers(1, 400), st.integers(2, 300))
def test_equals_brute_force_on_drawn_worlds(metric, seed, k, largest):
    check_world(random_world(metric, seed, users=6, largest=largest, k=k))


@pytest.mark.parametrize("metric", METRICS)
def test_agrees_with_the_definition_not_only_with_its_own_scores(metric):
    world = random_world(metric, 4, largest=800, k=10)
    exact = world.exact_scores()
    for got, best, row in zip(lists(rank(world)), brute_force(exact, world.seen_sets(), world.k), exact, strict=True):
        np.testing.assert_allclose(row[got], row[best], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_definition_is_not_of_our_own_making(metric):
    world = random_world(metric, 8, users=20, largest=300)
    index = build_index(world.space.items, metric, world.space.offset)
    np.testing.assert_allclose(score_all(index, world.space.queries), world.exact_scores(), rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_pairs_and_whole_rows_score_to_the_same_bits(metric):
    rng = np.random.default_rng(3)
    queries, items = (rng.standard_normal((rows, 34), dtype=np.float32) for rows in (37, 5000))
    index = build_index(items, metric, 3.0, threads=2)
    whole = score_all(index, queries)
    ids = rng.integers(0, 5000, (37, 41))
    assert score_pairs(index, queries, ids).tobytes() == np.take_along_axis(whole, ids, axis=1).tobytes()
    assert score_all(index, queries[5:6])[0].tobytes() == whole[5].tobytes()


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_symmetric_to_the_bit(metric):
    rng = np.random.default_rng(4)
    users, movies = (rng.standard_normal((rows, 34), dtype=np.float32) for rows in (60, 80))
    forward = score_all(build_index(movies, metric, 1.0), users)
    assert forward.T.tobytes() == score_all(build_index(users, metric, 1.0), movies).tobytes()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("group", [1, 7, 64, 1000])
def test_a_query_s_bytes_do_not_depend_on_its_neighbours_or_threads(metric, group):
    rng = np.random.default_rng(5)
    users, movies, k = 600, 4000, 30
    queries, items = (rng.standard_normal((rows, 48), dtype=np.float32) for rows in (users, movies))
    sizes = np.minimum(rng.zipf(1.4, users), 900)
    seen = Histories.from_sizes(sizes, rng.integers(0, movies, sizes.sum()))
    whole = top_k(build_index(items, metric, threads=1), queries, seen, k)
    index = build_index(items, metric, threads=2)
    picked = rng.permutation(users)[: 12 if group == 1 else users]
    for start in range(0, len(picked), group):
        rows = picked[start : start + group]
        part = top_k(index, queries[rows], seen.pick(rows), k)
        assert part.ids.tobytes() == whole.ids[rows].tobytes()
        assert part.scores.tobytes() == whole.scores[rows].tobytes()


@pytest.mark.parametrize("metric", METRICS)
def test_no_seen_row_leaks(metric):
    world = random_world(metric, 12, users=200)
    for got, history in zip(lists(rank(world)), world.seen_sets(), strict=True):
        assert not history & set(got)
        assert len(set(got)) == len(got)


@pytest.mark.parametrize("metric", METRICS)
def test_ties_across_the_cut_go_to_the_lowest_ids(metric):
    items = np.tile(np.float32([[0.6, 0.8]]), (20_000, 1))
    items[::2] *= 0.5 if metric == "inner_product" else 1.0
    ranking = top_k(build_index(items, metric), np.float32([[1, 1], [3, 2]]), Histories.empty(2), 50)
    expected = np.arange(1, 100, 2) if metric == "inner_product" else np.arange(50)
    assert (ranking.ids == expected).all()


@pytest.mark.parametrize("metric", METRICS)
def test_scores_closer_than_rounding_are_still_ordered_as_published(metric):
    """Enough queries for FAISS to multiply matrices, whose rounding reorders rows that differ in the last bits."""
    rng = np.random.default_rng(6)
    items = np.float32(rng.standard_normal((1, 64)) + 1e-6 * rng.standard_normal((1500, 64)))
    queries = rng.standard_normal((300, 64), dtype=np.float32)
    index = build_index(items, metric)
    got = top_k(index, queries, Histories.empty(300), 5)
    best = np.argsort(-score_all(index, queries), axis=1, kind="stable")[:, :5]
    assert got.ids.tolist() == best.tolist()


@pytest.mark.parametrize("metric", ["inner_product", "modulus"])
def test_small_buffers_rank_the_same(monkeypatch, metric):
    world = random_world(metric, 16, users=90, largest=3000)
    whole = rank(world)
    monkeypatch.setattr(topk, "_CELLS", 20_000)
    monkeypatch.setattr(topk, "_MARK_BYTES", 3 * len(world.space.items))
    part = rank(world)
    assert part.ids.tobytes() == whole.ids.tobytes()
    assert part.scores.tobytes() == whole.scores.tobytes()


def test_everything_seen_nothing_left_and_more_asked_than_there_is():
    items = np.float32([[1, 0], [0, 1], [1, 1]])
    seen = Histories(np.array([0, 3, 5, 5]), np.array([2, 0, 1, 2, 2]))
    ranking = top_k(build_index(items, "inner_product"), np.ones((3, 2), np.float32), seen, 5)
    assert ranking.counts.tolist() == [0, 2, 3]
    assert ranking.ids.tolist() == [[-1] * 5, [0, 1, -1, -1, -1], [2, 0, 1, -1, -1]]
    assert ranking.ids.dtype == np.int64
    assert ranking.scores.dtype == np.float32
    empty = top_k(build_index(items, "l2"), np.empty((0, 2), np.float32), Histories.empty(0), 5)
    assert empty.ids.shape == (0, 5)


def test_packed_keys_sort_by_score_then_id_and_come_back():
    scores = np.float32([[0.0, -0.0, -1.5, 2.5, -np.inf, 1e-45, -1e-45, 3e38]])
    ids = np.array([[7, 3, 1, 2**31 - 1, 5, 4, 6, -1]])
    ranking = topk.unpack(np.sort(topk.pack(scores, ids), axis=1))
    assert ranking.ids.tolist() == [[2**31 - 1, 4, 3, 7, 6, 1, 5, -1]]
    assert ranking.scores[0, :6].tolist() == np.float32([2.5, 1e-45, 0, 0, -1e-45, -1.5]).tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_a_checkerboard_recommends_the_withheld_square(metric):
    """Even users like even movies and odd users odd ones; each has seen all but one of the movies that it likes."""
    size = 40
    colours = np.float32([[1, 0, 0, 1], [0, 1, 1, 0]])
    side = colours[np.arange(size) % 2]
    same = [[m for m in range(u % 2, size, 2) if m != (u * 6 + u % 2) % size] for u in range(size)]
    seen = Histories.of(same)
    ranking = top_k(build_index(side, metric), side, seen, 1)
    assert ranking.ids[:, 0].tolist() == [(u * 6 + u % 2) % size for u in range(size)]


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, int]]:
    """Queries and depth of every search."""
    log: list[tuple[int, int]] = []

    def search(self, queries, depth, real=topk.FlatIndex.search):
        log.append((len(queries), depth))
        return real(self, queries, depth)

    monkeypatch.setattr(topk.FlatIndex, "search", search)
    return log


def test_a_heavy_user_does_not_deepen_the_others_search(asked):
    """Counts the rows fetched from FAISS: near k + |seen| per query."""
    rng = np.random.default_rng(7)
    queries, items = (rng.standard_normal((rows, 16), dtype=np.float32) for rows in (300, 40_000))
    index = build_index(items, "inner_product")
    seen = Histories(np.concatenate((np.arange(300), [299 + 8000])), rng.integers(0, 40_000, 8299))
    top_k(index, queries, seen, 100)
    assert sorted(asked) == [(1, 8108), (299, 109)]


def planted(sizes: np.ndarray, on_top: np.ndarray, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, Histories]:
    """Queries, items, and histories: a fraction `on_top` of each are the query's best rows, the others are random."""
    rng = np.random.default_rng(seed)
    queries, items = (rng.standard_normal((count, 24), dtype=np.float32) for count in (len(sizes), rows))
    order = np.argsort(-(queries @ items.T), axis=1)
    best = np.round(sizes * on_top).astype(int)
    parts = [
        np.concatenate([order[u, : best[u]], rng.integers(0, rows, sizes[u] - best[u])]) for u in range(len(sizes))
    ]
    return queries, items, Histories.of(parts)


def check_planted(queries: np.ndarray, items: np.ndarray, seen: Histories, k: int, metric, threads: int = 1) -> None:
    index = build_index(items, metric, threads=threads)
    sets = [set(part.tolist()) for part in np.split(seen.indices, seen.indptr[1:-1])]
    expected = brute_force(score_all(index, queries), sets, k)
    assert lists(top_k(index, queries, seen, k)) == expected


def test_histories_that_rank_low_are_not_fetched_for(asked):
    sizes = np.repeat([40, 300], [300, 100])
    check_planted(*planted(sizes, np.zeros(400), 4000, 1), k=10, metric="inner_product")
    assert sum(queries for queries, _ in asked) == 400
    assert max(depth for _, depth in asked) < 100


def test_a_history_that_ranks_higher_than_the_others_is_searched_again(asked):
    """Small histories rank low and large ones at the top: the learned estimate is wrong, but the lists are right."""
    sizes = np.repeat([40, 300], [300, 100])
    check_planted(*planted(sizes, (sizes > 40) * 1.0, 4000, 2), k=10, metric="inner_product")
    assert sum(queries for queries, _ in asked) > 400
    assert max(depth for _, depth in asked) >= 10 + 300


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["inner_product", "l2"]),
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.sampled_from([(0.0, 1.0), (1.0, 0.0), (0.5, 0.9), (0.0, 0.0), (1.0, 1.0)]),
    st.sampled_from([1, 2]),
)
def test_lists_equal_brute_force_for_any_fraction_of_histories_at_the_top(metric, seed, k, shares, threads):
    """Heavy tails; small and large histories rank differently, and the largest contain most of the catalogue."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(5 + (30 * rng.pareto(1.0, 200)).astype(int), 1500)
    on_top = np.where(sizes < 64, *shares) * rng.uniform(0.7, 1.0, 200)
    queries, items, seen = planted(sizes, on_top, 1600, seed)
    if seed % 2:
        items = np.round(items * 2) / 2  # ties
    check_planted(queries, items, seen, k, metric, threads)


def test_trained_looking_rotations_are_settled_by_the_bound(monkeypatch):
    """Users near their movies: the modulus bound proves the list without scoring everything."""
    rng = np.random.default_rng(8)
    centres = rng.standard_normal((40, 32))
    items = unit_moduli(np.repeat(centres, 100, axis=0) + 0.02 * rng.standard_normal((4000, 32)))
    queries = unit_moduli(centres)
    index = build_index(items, "modulus", 6.0)
    expected = brute_force(score_all(index, queries), [set()] * 40, 20)
    monkeypatch.setattr(topk, "_scan", lambda *_: pytest.fail("scored the whole index"))
    assert lists(top_k(index, queries, Histories.empty(40), 20)) == expected


def test_wrong_inputs_are_refused_in_one_line():
    index = build_index(np.ones((3, 2), np.float32), "l2")
    query = np.ones((1, 2), np.float32)
    with pytest.raises(StageError, match=r"seen positions 3\.\.3 lie outside the index's 0\.\.2"):
        top_k(index, query, Histories(np.array([0, 1]), np.array([3])), 2)
    with pytest.raises(StageError, match="vector 0 of the queries is not finite"):
        top_k(index, query * np.nan, Histories.empty(1), 2)
    with pytest.raises(StageError, match="vector 2 of the index is not finite"):
        build_index(np.float32([[1, 2], [3, 4], [np.inf, 0]]), "l2")
    with pytest.raises(StageError, match="overflow"):
        top_k(index, query * np.float32(1e30), Histories.empty(1), 2)
    for queries, seen, k in (
        (query, Histories.empty(1), 0),
        (query, Histories.empty(2), 1),
        (query[:, :1], Histories.empty(1), 1),
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            top_k(index, queries, seen, k)
    with pytest.raises(ValueError, match="even d"):
        build_index(np.ones((3, 3), np.float32), "modulus")
    with pytest.raises(ValueError, match="unknown metric"):
        build_index(np.ones((3, 2), np.float32), "cosine")


def test_a_vector_far_back_that_is_not_finite_is_named() -> None:
    vectors = np.zeros((150_000, 1), dtype=np.float32)
    vectors[[140_000, 149_999]] = np.inf
    with pytest.raises(StageError, match="vector 140000 of the index is not finite"):
        build_index(vectors, "l2")
