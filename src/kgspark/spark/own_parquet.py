"""Parquet tables of the user: the columns of all files are compared before Spark reads one."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from kgspark.errors import InputError
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.parquet_files import open_footer, refuse_two_types
from kgspark.spark.frames import read_parquet

# Arrow's type of a column without a single value, whose type pandas does not know.
_NO_VALUES = str(pa.null())
# Spark reads the type of such a column from the values in the names of the folders.
_OF_FOLDERS = "of folders"
# Names and types of a file's columns, in order.
_Columns = tuple[tuple[str, str], ...]


def read_own_parquet(session: SparkSession, files: SourceFiles) -> DataFrame:
    """The rows of all files, which have the same columns; numbers of different types become the wider one. Lazy.

    A folder such as `day=1` is a column.
    Raises InputError, with file and column, for a file that was cut off, and for columns that do not belong together.
    """
    with ThreadPoolExecutor(8) as pool:
        columns = dict(zip(files.files, pool.map(partial(_columns, root=files.root), files.files), strict=True))
    _check_together(columns)
    alike: dict[_Columns, list[Path]] = {}
    for file, of_file in columns.items():
        alike.setdefault(of_file, []).append(file)
    with_values = {name for of_part in alike for name, found in of_part if found != _NO_VALUES}
    # Spark would read `day=1` as a number in one part, and `day=x` as a text in another.
    of_folders = {name for of_part in alike for name, found in of_part if found == _OF_FOLDERS}
    whole = read_parquet(session, files.files, files.root).schema if of_folders and len(alike) > 1 else ()
    types = [field for field in whole if field.name in of_folders]
    parts = []
    for of_part, paths in alike.items():
        # Spark would read a column without values as one of integers.
        gaps = [name for name, found in of_part if found == _NO_VALUES and name in with_values]
        parts.append(read_parquet(session, paths, files.root, types).drop(*gaps))
    return reduce(partial(DataFrame.unionByName, allowMissingColumns=True), parts)


def _columns(file: Path, root: Path) -> _Columns:
    """The columns of a file and of the folders below `root` that it is in."""
    schema, _ = open_footer(file)
    stored = [(field.name, str(_values(field.type))) for field in schema]
    folders = [part.partition("=")[0] for part in file.relative_to(root).parent.parts if "=" in part]
    columns = (*stored, *[(name, _OF_FOLDERS) for name in folders])
    if pa.uuid() in schema.types:
        name = schema.field(schema.types.index(pa.uuid())).name
        raise InputError(f"{file}: {name} is a UUID of 16 bytes, which Spark reads in ratings only; write it as text")
    names = [name.casefold() for name, _ in columns]
    for name, _ in columns:
        if names.count(name.casefold()) > 1:
            raise InputError(f"{file}: the table has the column {name!r} more than once; rename one")
    return columns


def _check_together(columns: Mapping[Path, _Columns]) -> None:
    first, expected = next(iter(columns.items()))
    for file, of_file in columns.items():
        if dict(of_file).keys() != dict(expected).keys():
            raise InputError(
                f"{file}: has the columns {', '.join(dict(of_file))}, but {first} has {', '.join(dict(expected))}; "
                "write all files of a table with the same columns"
            )
    with_values = (
        (file, name, found) for file, of_file in columns.items() for name, found in of_file if found != _NO_VALUES
    )
    refuse_two_types(with_values, _group)


def _values(found: pa.DataType) -> pa.DataType:
    """The type of a column's values, which may be stored as numbers of a dictionary."""
    return found.value_type if pa.types.is_dictionary(found) else found


def _group(found: str) -> str:
    """Files may have different types of one group: pandas makes floating numbers of integers beside gaps."""
    if found.startswith(("int", "uint", "float", "double", "halffloat", "decimal")):
        return "number"
    return "text" if found in ("string", "large_string") else found
