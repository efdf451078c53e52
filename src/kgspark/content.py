"""The content of a table: a hash of its rows that depends on neither their order nor the files that they stand in.

The hash of a table is made of its columns, its number of rows, and the sum modulo 2^64 of a 64-bit hash per row. So
every part of a table is summed where it is written, and the sums are added. A changed, missing or repeated row changes
the sum, and so do two values that change places, in a row or in a column.

The hash of a row covers every value with its place. A missing value has a hash of its own. Floating numbers count by
their bits, so the smallest difference counts; only -0.0 equals 0.0. Spark's tables and published tables are hashed by
different functions, so only hashes of the same table can be compared.

The hash of a list covers its values with their places. It is the same for lists of a fixed length, of a variable one,
and of any type of offsets.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NULL = np.uint64(0x9E3779B97F4A7C15)
# Lists that are hashed at a time, so that the hashes of their values stay in a cache.
_LISTS = 4096


def content_hash(columns: str, rows: int, total: int) -> str:
    """The hash of a table, 16 hexadecimal digits.

    columns  names and types of the columns, in order
    total    sum of the hashes of the rows; only its value modulo 2^64 counts
    """
    return hashlib.sha256(f"{columns} {rows} {total % 2**64}".encode()).hexdigest()[:16]


def columns_text(schema: pa.Schema) -> str:
    """Names and types of the columns, for `content_hash`."""
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def signed(total: int) -> int:
    """The number of 64 bits, with a sign, that is `total` modulo 2^64."""
    return (total + 2**63) % 2**64 - 2**63


def sum_of_rows(batch: pa.RecordBatch) -> int:
    """Sum modulo 2^64 of the hashes of the rows, as a signed number. Columns: numbers, strings, and lists of these."""
    from pandas.util import hash_array  # executors have it, but not every installation

    hashes = np.zeros(batch.num_rows, np.uint64)
    for column in batch.columns:
        # Each step mixes all bits, so that a row's hash is no sum over its columns.
        hashes = hash_array(hashes + _hashes_of_values(column))
    return int(hashes.view(np.int64).sum())


def _hashes_of_values(column: pa.Array) -> np.ndarray:
    from pandas.util import hash_array

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_list(column.type):
        hashes = np.concatenate([np.zeros(0, np.uint64), *map(_hashes_of_lists, _parts(column))])
    elif pa.types.is_string(column.type):
        encoded = column.fill_null("").dictionary_encode()
        texts = encoded.dictionary.to_numpy(zero_copy_only=False)
        hashes = hash_array(texts, categorize=False)[encoded.indices.to_numpy()]
    else:
        hashes = hash_array(column.fill_null(0).to_numpy(zero_copy_only=False) + 0)  # -0.0 + 0 = 0.0
    return np.where(column.is_null().to_numpy(zero_copy_only=False), _NULL, hashes)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _parts(column: pa.Array) -> Iterator[pa.Array]:
    return (column.slice(start, _LISTS) for start in range(0, len(column), _LISTS))


def _hashes_of_lists(lists: pa.Array) -> np.ndarray:
    """The hash of each list, of which a missing one counts as empty here."""
    from pandas.util import hash_array

    sizes = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    places = np.arange(sizes.sum()) - np.repeat(ends - sizes, sizes)
    values = hash_array(_hashes_of_values(lists.flatten()) + hash_array(places))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    return hash_array(sums[ends] - sums[ends - sizes])
