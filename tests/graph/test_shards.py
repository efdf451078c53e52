"""Reading triple shards: independent of sharding and row order, and strict about what it reads."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kgspark.errors import InputError
from kgspark.graph.shards import from_arrays, read_triples, sorted_pairs
from worlds.graphs import LAYOUT, LIKED, RELATIONS, USERS, block_columns, write_shards


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_sharding_and_row_order_do_not_matter(tmp_path, shards):
    columns = timed_columns()
    order = np.random.default_rng(shards).permutation(len(columns["head"]))
    write_shards(tmp_path / "triples", columns, order, shards)
    read = read_triples(tmp_path / "triples", LAYOUT, RELATIONS)
    assert read.fingerprint() == from_arrays(columns, LAYOUT, RELATIONS).fingerprint()
    assert len(read) == len(columns["head"])


def test_shards_from_before_timestamps_were_written_still_read(tmp_path):
    columns = block_columns()
    write_shards(tmp_path / "triples", columns, np.arange(len(columns["head"])), 2)
    read = read_triples(tmp_path / "triples", LAYOUT, RELATIONS)
    assert read.csr(LIKED, LAYOUT).times is None
    assert read.fingerprint() == from_arrays(columns, LAYOUT, RELATIONS).fingerprint()


def test_a_time_stays_with_its_triple():
    columns = timed_columns()
    world = from_arrays(columns, LAYOUT, RELATIONS)
    assert world.pairs(1).times is None  # no movie's genre has a time
    pairs = world.pairs(0, ("train", "valid", "test"))
    keys = zip(columns["head"], columns["tail"], strict=True)
    told = dict(zip(keys, columns["timestamp"].tolist(), strict=True))
    assert pairs.times.tolist() == [told[pair] for pair in zip(pairs.heads, pairs.tails, strict=True)]
    likes = world.csr(LIKED, LAYOUT).rows(np.array([5, 1]))
    users = np.repeat([5, 1], np.diff(likes.indptr))
    assert likes.times.tolist() == [told[pair] for pair in zip(users, likes.tails + USERS, strict=True)]
    twice = sorted_pairs(np.array([0, 0]), np.array([3, 3]), np.ones(2, np.float32), np.array([7, 9]))
    assert twice.times.tolist() == [9]


def timed_columns():
    """`block_columns` with times of the likes alone, no two the same."""
    columns = block_columns()
    times = np.random.default_rng(0).permutation(len(columns["head"])) + 1
    return columns | {"timestamp": np.where(columns["relation"] == 0, times, 0)}


def test_fingerprint_sees_every_column():
    columns = timed_columns()
    prints = {from_arrays(columns, LAYOUT, RELATIONS).fingerprint()}
    for name, value in (("head", 1), ("tail", USERS + 1), ("split", "train"), ("weight", 0.5), ("timestamp", 999)):
        changed = columns[name].copy()
        changed[0] = value
        prints.add(from_arrays({**columns, name: changed}, LAYOUT, RELATIONS).fingerprint())
    assert len(prints) == 6


def test_csr_holds_the_likes_of_each_user():
    world = from_arrays(block_columns(), LAYOUT, RELATIONS)
    likes = world.csr(LIKED, LAYOUT)
    assert len(likes.indptr) == USERS + 1
    some = likes.rows(np.array([5, 1]))
    assert (some.tails[: some.indptr[1]] % 4 == 1).all()
    assert len(world.pairs(0, ("train", "valid", "test"))) == USERS * 8


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.1, 0.7, 1.0])), max_size=30))
@hypothesis_settings(max_examples=50, deadline=None)
def test_sorted_pairs_are_distinct_and_lose_no_weight(rows):
    heads, tails, weights = (np.array([row[i] for row in rows]) for i in range(3))
    heads, tails, weights = heads.astype(np.int64), tails.astype(np.int64), weights.astype(np.float32)
    pairs = sorted_pairs(heads, tails, weights)
    turned = sorted_pairs(heads[::-1], tails[::-1], weights[::-1])
    expected = {}
    for head, tail, weight in zip(heads.tolist(), tails.tolist(), weights.tolist(), strict=True):
        expected[head, tail] = expected.get((head, tail), 0.0) + weight
    keys = list(zip(pairs.heads.tolist(), pairs.tails.tolist(), strict=True))
    assert keys == sorted(expected)
    np.testing.assert_allclose(pairs.weights, [expected[key] for key in keys], rtol=1e-5)
    assert pairs.weights.tobytes() == turned.weights.tobytes()


def test_empty_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no triple shards"):
        read_triples(tmp_path, LAYOUT, RELATIONS)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("head", USERS, r"liked: head 40 lies outside the user range \[0, 40\)"),
        ("tail", USERS - 1, r"liked: tail 39 lies outside the movie range"),
        ("relation", 9, "relation 9 is not declared"),
        ("split", "dev", "split 'dev' is none of train, valid, test"),
        ("weight", np.nan, "weights must be finite"),
    ],
)
def test_what_breaks_its_declaration_is_named(tmp_path, column, value, message):
    columns = block_columns()
    columns[column] = columns[column].copy()
    columns[column][0] = value
    write_shards(tmp_path / "triples", columns, np.arange(len(columns["head"])), 2)
    with pytest.raises(InputError, match=message):
        read_triples(tmp_path / "triples", LAYOUT, RELATIONS)


def test_a_file_that_is_no_shard_is_named(tmp_path):
    (tmp_path / "part-0.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"part-0\.parquet: not a readable triple shard"):
        read_triples(tmp_path, LAYOUT, RELATIONS)
    pq.write_table(pa.table({"head": [1]}), tmp_path / "part-0.parquet")
    with pytest.raises(InputError, match=r"part-0\.parquet"):
        read_triples(tmp_path, LAYOUT, RELATIONS)
