"""Reads tables into data frames and writes them: the only place where Spark writes tables."""

import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, DataFrameWriter, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import ArrayType, MapType, StructField, StructType

from kgspark.content import content_hash
from kgspark.errors import InputError
from kgspark.files import DataFile, TableFiles, describe_file
from kgspark.spark.stored import copy_in_store, object_root, read_stored, spark_path, write_stored
from kgspark.stores.copies import Copy
from kgspark.stores.store import LostError, Store
from kgspark.stores.uris import for_spark

# The driver reads up to this many bytes of files itself, for their checksums; executors read what is larger.
READ_HERE = 256 << 20
_MOST_TASKS = 256
# A row's hash is summed in parts of so many bits, because an overflow is an error in ANSI mode. The sum of a part holds
# 2^41 rows.
_PART_BITS = 22
_T = TypeVar("_T")


def quoted(name: str) -> str:
    """The name of a column for Spark, whatever characters it has."""
    return "`" + name.replace("`", "``") + "`"


def read_table(session: SparkSession, folder: Path, tolerant: bool = False) -> DataFrame:
    """A complete table of a run. Lazy: the schema comes from one file's footer; Spark would run a job for it.

    Of a lake on an object store, see `stored`.

    tolerant  leaves out files that are damaged or disappear
    """
    options = {"ignoreCorruptFiles": tolerant, "ignoreMissingFiles": tolerant}
    if (in_store := copy_in_store(session, folder)) is not None:
        return read_stored(session, in_store, folder, options)
    if (copy := Copy.around(folder)) is not None:
        copy.fetch(folder)
    first = min(folder.glob("part-*.parquet"))
    reader = session.read.schema(from_arrow_schema(pq.read_schema(first)))
    return reader.options(**options).parquet(spark_path(session, folder))


def read_parquet(
    session: SparkSession, files: Sequence[Path], root: Path, of_folders: Sequence[StructField] = ()
) -> DataFrame:
    """Parquet files that kgspark did not write. Folders such as `day=1` between `root` and a file become a column.

    of_folders  types of these columns, if these files alone do not tell them
    """
    objects = object_root(session, root)
    base = str(root) if objects is None else for_spark(objects[1])
    reader, paths = session.read.option("basePath", base), [spark_path(session, file) for file in files]
    frame = reader.parquet(*paths)
    types = {field.name: field for field in of_folders}
    schema = StructType([types.get(field.name, field) for field in frame.schema])
    return frame if schema == frame.schema else reader.schema(schema).parquet(*paths)


def write_table(frame: DataFrame, folder: Path, rows_per_file: int = 0) -> TableFiles:
    """Writes `frame` to the new `folder` as part-00000.parquet, ... in partition order.

    rows_per_file  splits a larger partition into several files; 0 for one file per partition
    Spark's file names contain a random id; with these names, equal tables have equal files.
    """
    sums = Observation()
    writer = frame.observe(sums, *sums_of_rows(frame.schema)).write
    if rows_per_file:
        writer = writer.option("maxRecordsPerFile", rows_per_file)
    files = _write(frame.sparkSession, writer, folder)
    return TableFiles(files, _content(frame.schema, TableFiles(files).rows, sums.get))


def _write(session: SparkSession, writer: DataFrameWriter, folder: Path) -> list[DataFile]:
    in_store = copy_in_store(session, folder)
    if in_store is not None:
        store, names = write_stored(writer, in_store, folder)
        return map_names(session, store.describe, names, sum(each.bytes for each in store.objects()))
    writer.parquet(str(folder))
    for leftover in (*folder.glob(".*.crc"), *folder.glob("_SUCCESS")):
        leftover.unlink()
    paths = []
    for number, path in enumerate(sorted(folder.glob("part-*.parquet"))):
        paths.append(path.rename(folder / f"part-{number:05d}.parquet"))
    return map_files(session, describe_file, paths)


def collect_content(frame: DataFrame) -> str:
    """The hash of the rows that `write_table` would give the table."""
    sums = frame.agg(*sums_of_rows(frame.schema), F.count(F.lit(1)).alias("rows")).collect()[0].asDict()
    return _content(frame.schema, sums.pop("rows"), sums)


def _content(schema: StructType, rows: int, sums: Mapping[str, int | None]) -> str:
    total = sum((part or 0) << int(first_bit) for first_bit, part in sums.items())
    return content_hash(schema.simpleString(), rows, total)


def sums_of_rows(schema: StructType) -> list[Column]:
    """The sum of the hashes of all rows (see `content`), in parts; each is named after its first bit in the hash."""
    # xxhash64 passes over nulls, also inside arrays. So it is told of each column if it is null, to tell (null, 1) from
    # (1, null), and nested values are hashed as text.
    values = [part for field in schema for part in (F.isnull(quoted(field.name)), _hashable(field))]
    hashed, mask = F.xxhash64(*values), F.lit((1 << _PART_BITS) - 1)
    return [
        F.sum(F.shiftrightunsigned(hashed, bit).bitwiseAND(mask)).alias(str(bit)) for bit in range(0, 64, _PART_BITS)
    ]


def _hashable(field: StructField) -> Column:
    nested = isinstance(field.dataType, (ArrayType, MapType, StructType))
    return F.to_json(quoted(field.name)) if nested else F.col(quoted(field.name))


def map_files(session: SparkSession, function: Callable[[Path], _T], paths: Sequence[Path]) -> list[_T]:
    """`function` of each file, which reads all of it: here if the files are small together, else in Spark tasks.

    If Spark reads the object that a file is a copy of, a task fetches it, and gives `function` a file with its name.
    """
    size = sum(path.stat().st_size for path in paths)
    objects = object_root(session, paths[0]) if paths and size > READ_HERE else None
    if objects is None:
        return map_names(session, lambda name: function(Path(name)), [str(path) for path in paths], size)
    root, uri = objects
    names = [path.relative_to(root).as_posix() for path in paths]
    return map_names(session, partial(_of_object, function, Store(uri)), names, size)


def _of_object(function: Callable[[Path], _T], store: Store, key: str) -> _T:
    """`function` of a file with the content and the name of an object."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(key).name
        try:
            store.download(key, path)
        except LostError as error:
            raise InputError(f"{error}: the object changed while it was read; run the command again") from None
        return function(path)


def map_names(session: SparkSession, function: Callable[[str], _T], names: Sequence[str], size: int) -> list[_T]:
    """`function` of each file's name, here if the files have few bytes together, else in Spark tasks.

    size  bytes of all files
    """
    if size <= READ_HERE:
        return [function(name) for name in names]

    def answers(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            # Pickled by our own tasks and read by this driver, as an RDD would do, which Spark Connect does not have.
            found = [pickle.dumps(function(name)) for name in batch.column("name").to_pylist()]
            yield pa.RecordBatch.from_pydict({"at": batch.column("at"), "answer": pa.array(found, pa.binary())})

    spread = rows_frame(session, list(enumerate(names)), "at int, name string")
    rows = spread.repartition(min(len(names), _MOST_TASKS)).mapInArrow(answers, "at int, answer binary").collect()
    return [pickle.loads(row["answer"]) for row in sorted(rows, key=itemgetter("at"))]


def write_empty(schema: pa.Schema, folder: Path) -> TableFiles:
    """Writes a table without rows to the new `folder`."""
    folder.mkdir()
    path = folder / "part-00000.parquet"
    pq.write_table(schema.empty_table(), path)
    columns = from_arrow_schema(schema).simpleString()
    return TableFiles([describe_file(path)], content_hash(columns, rows=0, total=0))


def arrow_frame(session: SparkSession, table: pa.Table) -> DataFrame:
    """A small table from Arrow's memory in the driver."""
    return session.createDataFrame(table)


def rows_frame(session: SparkSession, rows: Sequence[Sequence[Any]], schema: str) -> DataFrame:
    """A small table from rows in the driver's memory."""
    return session.createDataFrame([tuple(row) for row in rows], schema)


def task_cores(session: SparkSession) -> int:
    """Number of cores that one task may use."""
    return int(session.conf.get("spark.task.cpus", "1") or 1)
