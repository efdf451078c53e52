"""Writes rows of published tables to Parquet files, in the task that makes them.

Arrow writes the same bytes for the same rows on every machine and in every process. Spark's Parquet writer does not: it
lists encodings in the footer in an order that differs between JVMs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.content import signed, sum_of_rows
from kgspark.files import DataFile, describe_file
from kgspark.published_schemas import DS_TYPE
from kgspark.stores.shared_folders import PARTIAL, writing
from kgspark.tables import Columns


def write_published(
    place: str, name: str, rows: Iterator[pa.RecordBatch], constants: Mapping[str, str]
) -> tuple[DataFile, int]:
    """Writes the batches (at least one) to a Parquet file; returns its description and `sum_of_rows`.

    place      see `stores.shared_folders`
    constants  further columns, each holding one string in every row; `ds` has the type `DS_TYPE`

    The file appears under its name only when it is complete. A task that runs again, or twice at the same time, writes
    the same bytes, so it replaces the file by an equal one.
    """
    with writing(place, name) as path:
        total = _write(path, rows, constants)
        file = describe_file(path)
    return replace(file, name=name), total


def discard_partial(folder: Path) -> None:
    """Removes the unfinished files in `folder` of tasks that failed, or that were stopped because a copy was faster."""
    for path in folder.glob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)


def _write(path: Path, rows: Iterator[pa.RecordBatch], constants: Mapping[str, str]) -> int:
    writer, total = None, 0
    for batch in rows:
        for name, value in constants.items():
            column = pa.repeat(pa.scalar(value), batch.num_rows)
            batch = batch.append_column(name, column.cast(DS_TYPE) if name == Columns.DS else column)
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
        writer.write_batch(batch)
        total += sum_of_rows(batch)
    if writer is not None:
        writer.close()
    return signed(total)
