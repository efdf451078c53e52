"""Reading triple shards: independent of sharding and row order, and strict about what it reads."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import InputError
from kgspark.graph.graph import Graph
from kgspark.graph.shards import read_graph
from worlds.graphs import LAYOUT, LIKED, RELATIONS, USERS, block_columns, timed_columns, write_shards


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_sharding_and_row_order_do_not_matter(tmp_path, shards):
    columns = timed_columns()
    order = np.random.default_rng(shards).permutation(len(columns["head"]))
    write_shards(tmp_path / "triples", columns, order, shards)
    read = read_graph(tmp_path / "triples", LAYOUT, RELATIONS)
    assert read.fingerprint() == Graph.from_columns(columns, LAYOUT, RELATIONS).fingerprint()
    assert len(read) == len(columns["head"])


def test_shards_from_before_timestamps_were_written_still_read(tmp_path):
    columns = block_columns()
    write_shards(tmp_path / "triples", columns, np.arange(len(columns["head"])), 2)
    read = read_graph(tmp_path / "triples", LAYOUT, RELATIONS)
    assert read.histories(LIKED).times is None
    assert read.fingerprint() == Graph.from_columns(columns, LAYOUT, RELATIONS).fingerprint()


def test_empty_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no triple shards"):
        read_graph(tmp_path, LAYOUT, RELATIONS)


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
def test_a_triple_that_breaks_its_declaration_is_named(tmp_path, column, value, message):
    columns = block_columns()
    columns[column] = columns[column].copy()
    columns[column][0] = value
    write_shards(tmp_path / "triples", columns, np.arange(len(columns["head"])), 2)
    with pytest.raises(InputError, match=message):
        read_graph(tmp_path / "triples", LAYOUT, RELATIONS)


def test_a_file_that_is_no_shard_is_named(tmp_path):
    (tmp_path / "part-0.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"part-0\.parquet: not a readable triple shard"):
        read_graph(tmp_path, LAYOUT, RELATIONS)
    pq.write_table(pa.table({"head": [1]}), tmp_path / "part-0.parquet")
    with pytest.raises(InputError, match=r"part-0\.parquet"):
        read_graph(tmp_path, LAYOUT, RELATIONS)
