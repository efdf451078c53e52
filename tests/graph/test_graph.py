"""The graph as one value: its histories, and the graphs that its methods return."""

import numpy as np
import pytest

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from worlds.graphs import (
    GENRES,
    HAS_GENRE,
    LAYOUT,
    LIKED,
    MOVIES,
    RELATIONS,
    USERS,
    block_columns,
    block_world,
    timed_columns,
)

SPLITS = ("train", "valid", "test")


def pairs_of(pairs):
    return set(zip(pairs.heads.tolist(), pairs.tails.tolist(), strict=True))


def test_a_time_stays_with_its_triple():
    columns = timed_columns()
    world = Graph.from_columns(columns, LAYOUT, RELATIONS)
    assert world.pairs(HAS_GENRE).times is None
    pairs = world.pairs(LIKED, SPLITS)
    keys = zip(columns["head"], columns["tail"], strict=True)
    given = dict(zip(keys, columns["timestamp"].tolist(), strict=True))
    assert pairs.times.tolist() == [given[pair] for pair in zip(pairs.heads, pairs.tails, strict=True)]
    likes = world.histories(LIKED).pick(np.array([5, 1]))
    users = np.array([5, 1])[likes.rows()]
    assert likes.times.tolist() == [given[pair] for pair in zip(users, likes.indices + USERS, strict=True)]


def test_the_fingerprint_sees_every_column_and_the_relations():
    columns = timed_columns()
    prints = {Graph.from_columns(columns, LAYOUT, RELATIONS).fingerprint()}
    for name, value in (("head", 1), ("tail", USERS + 1), ("split", "train"), ("weight", 0.5), ("timestamp", 999)):
        changed = columns[name].copy()
        changed[0] = value
        prints.add(Graph.from_columns({**columns, name: changed}, LAYOUT, RELATIONS).fingerprint())
    renamed = [type(LIKED)(0, "seen", "user", "movie"), HAS_GENRE]
    prints.add(Graph.from_columns(columns, LAYOUT, renamed).fingerprint())
    assert len(prints) == 7


def test_histories_hold_the_likes_of_each_user():
    world = block_world()
    likes = world.histories(LIKED)
    assert len(likes) == USERS
    assert likes.weights.tolist() == [1.0] * (USERS * 7)
    some = likes.pick(np.array([5, 1]))
    assert (some.indices[: some.indptr[1]] % 4 == 1).all()
    assert (world.histories(LIKED, SPLITS).sizes == 8).all()
    assert world.histories(HAS_GENRE).indices.tolist() == [movie % GENRES for movie in range(MOVIES)]


def test_a_relation_is_found_by_its_name():
    assert block_world().relation("has_genre") is HAS_GENRE
    with pytest.raises(StageError, match="the graph has no relation 'watched'; it has liked, has_genre"):
        block_world().relation("watched")


def test_a_graph_without_a_split_has_all_other_triples():
    world = block_world()
    less = world.without("test")
    assert len(less) == len(world) - len(world.pairs(LIKED, ("test",))) < len(world)
    assert not len(less.pairs(LIKED, ("test",)))
    assert less.pairs(LIKED) is world.pairs(LIKED)


def test_constant_weights_are_those_of_a_table_written_with_them():
    columns = block_columns()
    written = columns | {"weight": np.where(columns["relation"] == 1, np.float32(0.7), np.float32(1))}
    weighted = block_world().weighted({"has_genre": 0.7, "absent": 2.0})
    assert weighted.fingerprint() == Graph.from_columns(written, LAYOUT, RELATIONS).fingerprint()
    assert pairs_of(weighted.weighted({"has_genre": 0.0}).without_zero_weights().pairs(HAS_GENRE)) == set()


def test_inverses_are_the_same_graph_the_other_way_round():
    graph = block_world().with_inverses()
    assert [relation.name for relation in graph.relations] == ["liked", "has_genre", "liked⁻¹", "has_genre⁻¹"]
    liked_by = graph.relations[2]
    assert (liked_by.index, liked_by.head_kind, liked_by.tail_kind) == (2, "movie", "user")
    for split in SPLITS:
        forward, backward = graph.pairs(LIKED, (split,)), graph.pairs(liked_by, (split,))
        assert len(forward) == len(backward) > 0
        assert pairs_of(forward) == {(head, tail) for tail, head in pairs_of(backward)}
    assert graph.histories(liked_by).indices.max() < USERS


def test_moved_triples_are_in_the_other_split_and_no_other_changes():
    world = Graph.from_columns(timed_columns(), LAYOUT, RELATIONS)
    test, train = (world.pairs(LIKED, (split,)) for split in ("test", "train"))
    rows = np.arange(len(test)) % 3 == 0
    assert rows.any()
    assert not rows.all()
    moved = world.moved(LIKED, rows, "test", "train")
    assert pairs_of(moved.pairs(LIKED, ("test",))) == pairs_of(test.at(~rows))
    assert pairs_of(moved.pairs(LIKED)) == pairs_of(train) | pairs_of(test.at(rows))
    keys = zip(moved.pairs(LIKED).heads, moved.pairs(LIKED).tails, strict=True)
    times = dict(zip(keys, moved.pairs(LIKED).times.tolist(), strict=True))
    assert all(
        times[key] == at
        for key, at in zip(zip(test.heads[rows], test.tails[rows], strict=True), test.times[rows], strict=True)
    )
    assert pairs_of(moved.pairs(HAS_GENRE)) == pairs_of(world.pairs(HAS_GENRE))
    assert world.moved(LIKED, np.ones(len(test), bool), "test", "train").triples.parts.keys() == {
        key for key in world.triples.parts if key != ("test", LIKED.index)
    }
