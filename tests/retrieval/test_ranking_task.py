"""Ranked rows equal the result of top_k, for any blocks, batches and partitions, in both directions."""

import dataclasses
import itertools
import pickle

import numpy as np
import pyarrow as pa
import pytest

from kgspark.errors import InputError, StageError
from kgspark.graph.histories import Histories
from kgspark.retrieval.index import build_index, load_index
from kgspark.retrieval.reasons import nearest_liked
from kgspark.retrieval.topk import top_k
from kgspark.tables import SOURCES
from worlds.rankings import METRICS, random_world
from worlds.streams import ranked, save, stream, task


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("strings", [False, True])
def test_rows_say_what_top_k_found(tmp_path, metric, strings):
    world = random_world(metric, 20, k=15)
    ids = save(world, tmp_path, strings)
    asked = task(tmp_path, 15, block=16, query_name="user_id", item_name="movie_id")
    out = ranked(stream(world.seen, ids["queries"]), pickle.loads(pickle.dumps(asked)))
    index = build_index(world.space.items, metric, world.space.offset)
    best = top_k(index, world.space.queries, world.seen, 15)
    sources = [[SOURCES[place] for place in side] for side in (world.space.query_sources, world.space.item_sources)]
    expected = [
        (ids["queries"][u], place + 1, ids["items"][m], min(sources[0][u], sources[1][m], key=SOURCES.index))
        for u, row in enumerate(best.ids)
        for place, m in enumerate(row)
        if m >= 0
    ]
    assert out.column_names == ["user_id", "rank", "movie_id", "score", "source"]
    assert [out.schema.field(name).type for name in ("rank", "score", "source")] == [
        pa.int32(),
        pa.float32(),
        pa.string(),
    ]
    got = [out[name].to_pylist() for name in ("user_id", "rank", "movie_id", "source")]
    assert list(zip(*got, strict=True)) == expected
    assert out["score"].to_numpy().tobytes() == best.scores[best.ids >= 0].tobytes()


@pytest.mark.parametrize("strings", [False, True])
def test_queries_under_another_numbering_than_the_vectors_are_refused(tmp_path, strings):
    """One user is gone, so all after it would get the list of the user before them."""
    world = random_world("l2", 20, k=5)
    ids = save(world, tmp_path, strings)["queries"]
    moved = [*ids[:3], *ids[4:], ids[3]]
    with pytest.raises(
        StageError, match=rf"number {moved[3]} as 3, where the search space has {ids[3]}; .* run train-"
    ):
        ranked(stream(world.seen, moved), task(tmp_path, 5, block=16))


@pytest.mark.parametrize("metric", METRICS)
def test_bytes_do_not_depend_on_blocks_batches_or_partitions(tmp_path, metric):
    world = random_world(metric, 24, users=120, k=12)
    ids = save(world, tmp_path)
    table = stream(world.seen, ids["queries"])
    whole = ranked(table, task(tmp_path, 12, block=1000), 10**6).combine_chunks()
    for block, batch, threads in ((1, 1000, 1), (7, 3, 2), (64, 50, 1), (1000, 1, 2)):
        got = ranked(table, task(tmp_path, 12, block=block, threads=threads), batch)
        assert got.combine_chunks().equals(whole)
    for partitions in (2, 7):
        edges = np.linspace(0, 120, partitions + 1).astype(int)
        asked = task(tmp_path, 12, block=32)
        parts = [ranked(stream(world.seen, ids["queries"], range(a, b)), asked) for a, b in itertools.pairwise(edges)]
        assert pa.concat_tables(parts).combine_chunks().equals(whole)


@pytest.mark.parametrize("metric", METRICS)
def test_audiences_are_the_other_side_of_the_same_scores(tmp_path, metric):
    world = random_world(metric, 28, users=50, largest=60, k=50)
    ids = save(world, tmp_path)
    movies = len(world.space.items)
    order = np.argsort(world.seen.indices, kind="stable")
    sizes = np.bincount(world.seen.indices, minlength=movies)
    seen_by = Histories.from_sizes(sizes, world.seen.rows()[order])
    forward = ranked(stream(world.seen, ids["queries"]), task(tmp_path, movies))
    backward = ranked(
        stream(seen_by, ids["items"]),
        task(tmp_path, 50, "queries", query_name="movie_id", item_name="user_id"),
    )
    pairs = {
        (user, movie): (score, source)
        for user, movie, score, source in zip(
            *(forward[name].to_pylist() for name in ("query_id", "item_id", "score", "source")), strict=True
        )
    }
    mirrored = {
        (user, movie): (score, source)
        for movie, user, score, source in zip(
            *(backward[name].to_pylist() for name in ("movie_id", "user_id", "score", "source")), strict=True
        )
    }
    assert pairs == mirrored


def test_only_some_queries_and_none_at_all(tmp_path):
    world = random_world("l2", 36, users=30, k=4)
    ids = save(world, tmp_path)
    asked = task(tmp_path, 4, block=8)
    table = stream(world.seen, ids["queries"])
    some = ranked(table.filter(np.isin(table["position"].to_numpy(), [3, 4, 29])), asked)
    whole = ranked(table, asked)
    kept = pa.compute.is_in(whole["query_id"], pa.array([ids["queries"][u] for u in (3, 4, 29)]))
    assert some.combine_chunks().equals(whole.filter(kept).combine_chunks())
    assert list(asked.rank(iter([]))) == []


def test_reasons_name_a_liked_movie(tmp_path):
    world = random_world("inner_product", 40, k=6)
    ids = save(world, tmp_path, strings=True)
    liked = np.random.default_rng(0).random(len(world.seen.indices)) < 0.4
    asked = task(tmp_path, 6, block=16, reason_name="because")
    out = ranked(stream(world.seen, ids["queries"], liked=liked), asked)
    index = build_index(world.space.items, "inner_product")
    best = top_k(index, world.space.queries, world.seen, 6)
    nearest = nearest_liked(world.space.items, best.ids, world.seen.where(liked))[best.ids >= 0]
    assert out["because"].to_pylist() == [ids["items"][m] if m >= 0 else None for m in nearest]
    assert 0 < out["because"].null_count < len(out)
    with pytest.raises(ValueError, match="side='items'"):
        task(tmp_path, 6, "queries", reason_name="because")


def test_what_is_added_to_an_items_scores_makes_no_reason(tmp_path):
    world = random_world("inner_product", 40, k=6)
    space, generator = world.space, np.random.default_rng(3)
    trend = 5 * generator.normal(size=len(space.items)).astype(np.float32)
    longer = {"queries": np.column_stack([space.queries, np.ones(len(space.queries), np.float32)])}
    added = dataclasses.replace(
        space, items=np.column_stack([space.items, trend]), **longer, width=space.items.shape[1]
    )
    ids = save(dataclasses.replace(world, space=added), tmp_path)
    asked = task(tmp_path, 6, block=16, reason_name="because")
    out = ranked(stream(world.seen, ids["queries"], liked=np.ones(len(world.seen.indices), bool)), asked)
    best = top_k(build_index(added.items, "inner_product"), added.queries, world.seen, 6)
    nearest = nearest_liked(space.items, best.ids, world.seen)[best.ids >= 0]
    assert out["because"].to_pylist() == [ids["items"][m] if m >= 0 else None for m in nearest]
    assert (nearest_liked(added.items, best.ids, world.seen)[best.ids >= 0] != nearest).any()


def test_the_index_is_built_once_and_again_after_a_new_model(tmp_path):
    world = random_world("l2", 48)
    save(world, tmp_path)
    first = load_index(tmp_path, "items")
    assert load_index(tmp_path, "items") is first
    assert load_index(tmp_path, "queries") is not first
    assert np.shares_memory(first.vectors, first.vectors.base)
    save(random_world("l2", 52), tmp_path)
    assert len(load_index(tmp_path, "items")) == len(random_world("l2", 52).space.items)
    with pytest.raises(InputError, match=r"search_space\.json: missing"):
        load_index(tmp_path / "nowhere", "items")
