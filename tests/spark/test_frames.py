"""The hash of a table's content that Spark computes while it writes the table, and files that tasks read."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from kgspark.files import describe_file
from kgspark.spark import frames
from kgspark.spark.frames import read_table, sums_of_rows, write_empty, write_table
from worlds.contents import SCHEMA, as_table, changed, in_any_order, some_rows

ROWS = some_rows()


def sums_by_case(frame: DataFrame) -> set[tuple[int, ...]]:
    """The sums over the rows of each case of `frame`, computed in one job."""
    schema = frame.drop("case").schema
    return {tuple(row)[1:] for row in frame.groupBy("case").agg(*sums_of_rows(schema)).collect()}


def test_the_order_of_rows_their_partitions_and_files_do_not_matter(spark: Any, tmp_path: Path) -> None:
    one = write_table(spark.createDataFrame(as_table(ROWS)).coalesce(1), tmp_path / "one")
    for rows, partitions, per_file in zip(in_any_order(ROWS), (2, 7), (0, 3), strict=True):
        frame = spark.createDataFrame(as_table(rows)).repartition(partitions)
        written = write_table(frame, tmp_path / str(partitions), per_file)
        assert len(written.files) >= partitions
        assert (written.content, written.rows) == (one.content, one.rows)
    again = write_table(read_table(spark, tmp_path / "one"), tmp_path / "again")
    assert again.content == one.content


def test_every_difference_matters(spark: Any) -> None:
    cases = {"": ROWS, **changed(ROWS)}
    tables = [as_table(rows).append_column("case", pa.array([case] * len(rows))) for case, rows in cases.items()]
    assert len(sums_by_case(spark.createDataFrame(pa.concat_tables(tables)))) == len(cases)


def test_lists_are_told_apart(spark: Any) -> None:
    lists = [["a", "b"], ["b", "a"], ["ab"], ["a", None, "b"], ["a", "b", None], [], None, [None]]
    assert len(sums_by_case(spark.createDataFrame(list(enumerate(lists)), "case int, genres array<string>"))) == 8


WIDER = SCHEMA.set(3, pa.field("score", pa.float64()))
RENAMED = SCHEMA.set(0, pa.field("movie", pa.int64()))


def test_names_and_types_matter(spark: Any, tmp_path: Path) -> None:
    frames = [spark.createDataFrame(as_table(ROWS, schema)) for schema in (SCHEMA, WIDER, RENAMED)]
    assert len({write_table(frame, tmp_path / str(number)).content for number, frame in enumerate(frames)}) == 3


def test_without_rows_they_matter_too_and_each_writer_gives_the_same_hash(spark: Any, tmp_path: Path) -> None:
    found = [write_empty(schema, tmp_path / str(number)).content for number, schema in enumerate((SCHEMA, WIDER))]
    assert found[0] != found[1]
    frame = spark.createDataFrame([], from_arrow_schema(SCHEMA))
    assert write_table(frame, tmp_path / "of Spark").content == found[0]


def test_large_files_are_read_in_tasks_in_their_order(spark: Any, tmp_path: Path, monkeypatch: Any) -> None:
    paths = [tmp_path / f"{size}.txt" for size in (5, 1, 9, 0, 3)]
    for path in paths:
        path.write_bytes(b"x" * int(path.stem))
    here = frames.map_files(spark, describe_file, paths)
    monkeypatch.setattr(frames, "READ_HERE", -1)
    processes = frames.map_files(spark, lambda path: os.getpid(), paths)
    assert os.getpid() not in processes
    assert frames.map_files(spark, describe_file, paths) == here
    assert [file.bytes for file in here] == [5, 1, 9, 0, 3]
