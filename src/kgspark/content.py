"""The content of a table: a hash of its rows that depends on neither their order nor the files that they stand in.

The hash of a table is made of its columns, its number of rows, and the sum modulo 2^64 of a 64-bit hash per row. So
every part of a table is summed where it is written, and the sums are added. A changed, missing or repeated row changes
the sum, and so do two values that change places, in a row or in a column.

The hash of a row covers every value with its place. A missing value has a hash of its own. Floating numbers count by
their bits, so the smallest difference counts; only -0.0 equals 0.0. Spark's tables and ranked tables are hashed by
different functions, so only hashes of the same table can be compared.
"""

import hashlib

import numpy as np
import pyarrow as pa

_NULL = np.uint64(0x9E3779B97F4A7C15)


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
    """Sum modulo 2^64 of the hashes of the rows, as a signed number. The columns are numbers and strings."""
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
    if pa.types.is_string(column.type):
        encoded = column.fill_null("").dictionary_encode()
        texts = encoded.dictionary.to_numpy(zero_copy_only=False)
        hashes = hash_array(texts, categorize=False)[encoded.indices.to_numpy()]
    else:
        hashes = hash_array(column.fill_null(0).to_numpy(zero_copy_only=False) + 0)  # -0.0 + 0 = 0.0
    return np.where(column.is_null().to_numpy(zero_copy_only=False), _NULL, hashes)
