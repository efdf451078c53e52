"""Spark's function xxhash64 in NumPy, for the columns that splits are decided by: the same pair, the same split.

The algorithm is XXH64 (Collet, https://github.com/Cyan4973/xxHash). Spark chains the columns: the hash of one is the
seed of the next, and the first seed is 42. A null leaves the hash as it is; no id is null.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

_SEED = 42
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)
_MASK_32 = np.uint64(0xFFFFFFFF)
# Bits of the fraction of a uniform number.
_FRACTION = 52


def uniform(seed: int, columns: Sequence[pa.Array]) -> np.ndarray:
    """Numbers in [0, 1), float64 (n,), that depend on the seed and on the row alone: those of `spark.graph.splits`.

    columns  int64 or string (n,) each
    """
    hashed = hash_integers(np.array([seed]), _SEED, small=-(2**31) <= seed < 2**31)
    hashes = np.broadcast_to(hashed, len(columns[0]))
    for column in columns:
        hashes = hash_column(column, hashes)
    return np.asarray((hashes & np.uint64((1 << _FRACTION) - 1)) / float(1 << _FRACTION))


def hash_column(column: pa.Array, seeds: np.ndarray) -> np.ndarray:
    """The hashes uint64 (n,) of a column int64 or string (n,), each with its own seed uint64 (n,)."""
    if pa.types.is_integer(column.type):
        return hash_integers(column.to_numpy(zero_copy_only=False), seeds)
    encoded = column.dictionary_encode()
    texts = [text.encode() for text in encoded.dictionary.to_pylist()]
    codes, sizes = encoded.indices.to_numpy(), np.array([len(text) for text in texts], np.int64)
    hashes, row_sizes = np.empty(len(codes), np.uint64), sizes[codes]
    for size in np.unique(row_sizes):
        of_size = np.flatnonzero(sizes == size)
        joined = b"".join(texts[code] for code in of_size)
        table = np.frombuffer(joined, np.uint8).reshape(len(of_size), size)
        rows = np.flatnonzero(row_sizes == size)
        hashes[rows] = _hash_bytes(table[np.searchsorted(of_size, codes[rows])], seeds[rows])
    return hashes


def hash_integers(values: np.ndarray, seeds: np.ndarray | int, small: bool = False) -> np.ndarray:
    """The hashes uint64 (n,) of integers.

    small  True for Spark's type int, False for bigint
    """
    with np.errstate(over="ignore"):
        start, bits = np.asarray(seeds).astype(np.uint64) + _P5, values.astype(np.int64).view(np.uint64)
        if small:
            hashes = (start + np.uint64(4)) ^ ((bits & _MASK_32) * _P1)
            return _avalanche(_rotated(hashes, 23) * _P2 + _P3)
        hashes = (start + np.uint64(8)) ^ _round(bits)
        return _avalanche(_rotated(hashes, 27) * _P1 + _P4)


def _hash_bytes(texts: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The hashes uint64 (n,) of texts of the same length, uint8 (n, length)."""
    length = texts.shape[1]
    with np.errstate(over="ignore"):
        stripes = length // 32 * 32
        hashes = _of_stripes(texts[:, :stripes], seeds) if stripes else seeds + _P5
        hashes = hashes + np.uint64(length)
        for at in range(stripes, length - 7, 8):
            hashes = _rotated(hashes ^ _round(_words(texts, at, "<u8")), 27) * _P1 + _P4
        at = stripes + (length - stripes) // 8 * 8
        if length - at >= 4:
            hashes = _rotated(hashes ^ (_words(texts, at, "<u4") * _P1), 23) * _P2 + _P3
            at += 4
        for place in range(at, length):
            hashes = _rotated(hashes ^ (texts[:, place].astype(np.uint64) * _P5), 11) * _P1
        return _avalanche(hashes)


def _of_stripes(texts: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The state after the stripes of 32 bytes."""
    lanes = [seeds + _P1 + _P2, seeds + _P2, seeds, seeds - _P1]
    for start in range(0, texts.shape[1], 32):
        for number in range(4):
            added = lanes[number] + _words(texts, start + 8 * number, "<u8") * _P2
            lanes[number] = _rotated(added, 31) * _P1
    hashes = _rotated(lanes[0], 1) + _rotated(lanes[1], 7) + _rotated(lanes[2], 12) + _rotated(lanes[3], 18)
    for lane in lanes:
        hashes = (hashes ^ _round(lane)) * _P1 + _P4
    return hashes


def _words(texts: np.ndarray, at: int, kind: str) -> np.ndarray:
    part = np.ascontiguousarray(texts[:, at : at + np.dtype(kind).itemsize])
    return part.view(kind)[:, 0].astype(np.uint64)


def _round(words: np.ndarray) -> np.ndarray:
    return _rotated(words * _P2, 31) * _P1


def _rotated(words: np.ndarray, bits: int) -> np.ndarray:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _avalanche(hashes: np.ndarray) -> np.ndarray:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * _P2
    hashes = (hashes ^ (hashes >> np.uint64(29))) * _P3
    return hashes ^ (hashes >> np.uint64(32))
