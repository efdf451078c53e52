"""Parquet tables of the user: the columns of all files are compared before Spark reads one."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from kgspark.errors import InputError
from kgspark.spark.frames import read_parquet

# Arrow's type of a column without a single value, whose type pandas does not know.
_NO_VALUES = str(pa.null())


def read_own_parquet(session: SparkSession, files: Sequence[Path]) -> DataFrame:
    """The rows of all files, which have the same columns; integers of different sizes become the larger ones. Lazy.

    Raises InputError, with file and column, for a file that was cut off, and for columns that do not belong together.
    """
    with ThreadPoolExecutor(8) as pool:
        schemas = dict(zip(files, pool.map(_schema, files), strict=True))
    _check_together(schemas)
    alike: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for file, schema in schemas.items():
        alike.setdefault(tuple((field.name, str(field.type)) for field in schema), []).append(file)
    with_values = {name for columns in alike for name, found in columns if found != _NO_VALUES}
    parts = []
    for columns, paths in alike.items():
        # Spark would read a column without values as one of integers.
        gaps = [name for name, found in columns if found == _NO_VALUES and name in with_values]
        parts.append(read_parquet(session, paths).drop(*gaps))
    return reduce(partial(DataFrame.unionByName, allowMissingColumns=True), parts)


def _schema(file: Path) -> pa.Schema:
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{file}: the Parquet file cannot be read; it was cut off, or is still being written "
            f"({str(error).splitlines()[0][:120]})"
        ) from None
    names = [name.casefold() for name in schema.names]
    for name in schema.names:
        if names.count(name.casefold()) > 1:
            raise InputError(f"{file}: the table has the column {name!r} more than once; rename one")
    return schema


def _check_together(schemas: Mapping[Path, pa.Schema]) -> None:
    first, expected = next(iter(schemas.items()))
    seen: dict[str, tuple[pa.DataType, Path]] = {}
    for file, schema in schemas.items():
        if set(schema.names) != set(expected.names):
            raise InputError(
                f"{file}: has the columns {', '.join(schema.names)}, but {first} has {', '.join(expected.names)}; "
                "write all files of a table with the same columns"
            )
        for field in schema:
            if str(field.type) == _NO_VALUES:
                continue
            other, where = seen.setdefault(field.name, (field.type, file))
            if _group(field.type) != _group(other):
                raise InputError(
                    f"{file}: {field.name} is {field.type} here and {other} in {where}; write all files of a table "
                    "with one type"
                )


def _group(found: pa.DataType) -> str:
    """Files may have different types of one group: integers of any size, and texts in both forms of Arrow."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_integer(found):
        return "integer"
    return "text" if pa.types.is_string(found) or pa.types.is_large_string(found) else str(found)
