"""Writing of vectors on executors, one task per file. Only descriptions of files come back to the driver."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from typing import Protocol

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from kgspark.files import DataFile
from kgspark.ranking_schemas import FILE_DESCRIPTION, QueryColumns
from kgspark.spark.ranking.executors import WrittenFiles, collect_written


class FileFunction(Protocol):
    """Writes one of several files; pickled with every task."""

    @property
    def files(self) -> int:
        """Number of all files."""

    def __call__(self, number: int) -> tuple[DataFile, int]:
        """Writes file `number`; returns its description and the sum of its rows."""


def write_vectors(session: SparkSession, functions: Sequence[FileFunction]) -> list[WrittenFiles]:
    """Applies each function to the numbers of its files, one task per file; returns the files of each."""
    files = [function.files for function in functions]
    numbers = session.range(0, sum(files), 1, sum(files))
    described = numbers.mapInArrow(partial(_run_task, functions=functions), from_arrow_schema(FILE_DESCRIPTION))
    return collect_written(described, len(functions))


def _run_task(batches: Iterator[pa.RecordBatch], functions: Sequence[FileFunction]) -> Iterator[pa.RecordBatch]:
    """Runs in a task; the numbers count the files of all functions."""
    firsts = list(accumulate((function.files for function in functions), initial=0))
    for batch in batches:
        for number in batch.column(0).to_pylist():
            table = next(at for at, end in enumerate(firsts[1:]) if number < end)
            file, total = functions[table](number - firsts[table])
            row = {QueryColumns.DIRECTION: table, **asdict(file), "total": total, "listed": 0, "found": 0}
            yield pa.RecordBatch.from_pylist([row], schema=FILE_DESCRIPTION)
