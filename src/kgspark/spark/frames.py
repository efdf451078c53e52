"""Reads tables into data frames and writes them: the only place where Spark writes tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from kgspark.files import DataFile, describe_file

# The driver hashes the files of tables up to this many bytes itself; the executors hash those of larger tables.
_HASH_HERE = 256 << 20


def read_table(session: SparkSession, folder: Path) -> DataFrame:
    """A complete table of a run. Lazy: the schema comes from one file's footer; Spark would run a job for it."""
    first = min(folder.glob("part-*.parquet"))
    return session.read.schema(from_arrow_schema(pq.read_schema(first))).parquet(str(folder))


def read_parquet(session: SparkSession, path: Path) -> DataFrame:
    """A Parquet file or folder that kgspark did not write."""
    return session.read.parquet(str(path))


def write_table(frame: DataFrame, folder: Path, rows_per_file: int = 0) -> list[DataFile]:
    """Writes `frame` to the new `folder` as part-00000.parquet, ... in partition order.

    rows_per_file  splits a larger partition into several files; 0 for one file per partition
    Spark's file names contain a random id; with these names, equal tables have equal files.
    """
    writer = frame.write.option("maxRecordsPerFile", rows_per_file) if rows_per_file else frame.write
    writer.parquet(str(folder))
    for leftover in (*folder.glob(".*.crc"), *folder.glob("_SUCCESS")):
        leftover.unlink()
    paths = []
    for number, path in enumerate(sorted(folder.glob("part-*.parquet"))):
        paths.append(path.rename(folder / f"part-{number:05d}.parquet"))
    return _describe(frame.sparkSession, paths)


def _describe(session: SparkSession, paths: list[Path]) -> list[DataFile]:
    if sum(path.stat().st_size for path in paths) <= _HASH_HERE:
        return [describe_file(path) for path in paths]
    names = [str(path) for path in paths]
    return session.sparkContext.parallelize(names, len(names)).map(describe_file).collect()


def write_empty(schema: pa.Schema, folder: Path) -> list[DataFile]:
    """Writes a table without rows to the new `folder`."""
    folder.mkdir()
    path = folder / "part-00000.parquet"
    pq.write_table(schema.empty_table(), path)
    return [describe_file(path)]


def rows_frame(session: SparkSession, rows: Sequence[Sequence[Any]], schema: str) -> DataFrame:
    """A small table from rows in the driver's memory."""
    return session.createDataFrame([tuple(row) for row in rows], schema)


def task_cores(session: SparkSession) -> int:
    """Number of cores that one task may use."""
    return int(session.conf.get("spark.task.cpus", "1") or 1)
