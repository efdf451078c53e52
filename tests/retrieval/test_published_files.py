"""A ranked table's files: complete, the same from every writer, and described correctly."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.content import sum_of_rows
from worlds.rankings import random_world
from worlds.streams import ranked, save, stream, task, written


def test_files_hold_the_ranked_rows_in_order_and_are_the_same_when_a_task_is_repeated(tmp_path: Path) -> None:
    world = random_world("l2", 3, users=40, k=9)
    ids = save(world, tmp_path / "space")
    table = stream(world.seen, ids["queries"])
    tables = tmp_path / "out"
    tables.mkdir()
    constants = {"model_id": "transe-1", "ds": "2026-01-02"}
    names = {"query_name": "user_id", "item_name": "movie_id"}
    asked = task(tmp_path / "space", 9, block=8, out=str(tables), constants=constants, **names)
    first = written(table, asked, 7)
    bytes_before = {path.name: path.read_bytes() for path in tables.iterdir()}
    again = written(table, asked, 1000)
    assert first == again
    assert {path.name: path.read_bytes() for path in tables.iterdir()} == bytes_before  # and no partial file is left
    assert sorted(bytes_before) == [f"part-{number:05d}.parquet" for number in range(3)]
    for description in first:
        content = bytes_before[description["name"]]
        assert description["bytes"] == len(content)
        assert description["sha256"] == hashlib.sha256(content).hexdigest()
    whole = pa.concat_tables([pq.read_table(tables / name) for name in sorted(bytes_before)])
    assert sum(description["rows"] for description in first) == len(whole)
    total = sum(sum_of_rows(batch) for batch in whole.combine_chunks().to_batches())
    assert sum(description["total"] for description in first) % 2**64 == total % 2**64
    assert whole.drop_columns(["model_id", "ds"]).equals(ranked(table, asked))
    assert set(whole["model_id"].to_pylist()) == {"transe-1"}
    assert set(whole["ds"].to_pylist()) == {"2026-01-02"}
    assert whole.schema.field("ds").type == pa.dictionary(pa.int32(), pa.string())  # see test_readers.py


def test_an_empty_task_writes_nothing(tmp_path: Path) -> None:
    assert list(task(tmp_path / "nowhere", 3, out=str(tmp_path))(iter([]))) == []
    assert not list(tmp_path.iterdir())
