"""Reads the triples table, a folder of Parquet shards, into a graph."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgspark.errors import InputError
from kgspark.graph.graph import Graph, split_codes
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.tables import Columns

_COLUMNS = (Columns.HEAD, Columns.RELATION, Columns.TAIL, Columns.SPLIT, Columns.WEIGHT)
# The time of the rating that a triple comes from; null for a triple without a time, absent if no triple has one.
_TIMESTAMP = Columns.TIMESTAMP


def read_graph(
    folder: Path,
    layout: EntityLayout,
    relations: Sequence[Relation],
    wanted: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Graph:
    """Reads every `*.parquet` file of `folder`, except names that start with `_` or `.`.

    wanted  returns a mask bool (n,) of the heads (n,) whose triples are kept; None keeps all
    Raises InputError if there is no triple, or if one does not fit its relation or split.
    """
    paths = sorted(path for path in Path(folder).glob("*.parquet") if path.name[0] not in "_.")
    if not paths:
        raise InputError(f"{folder}: no triple shards (*.parquet); run write-triples first")
    shards = [_keep(_read_shard(path), wanted) for path in paths]
    columns = {name: np.concatenate([shard[name] for shard in shards]) for name in (*_COLUMNS, _TIMESTAMP)}
    if len(columns[Columns.HEAD]) == 0:
        raise InputError(f"{folder}: the triple shards hold no rows; were any ratings liked?")
    return Graph.from_columns(columns, layout, relations, str(folder))


def _keep(columns: dict[str, np.ndarray], wanted: Callable[[np.ndarray], np.ndarray] | None) -> dict[str, np.ndarray]:
    if wanted is None:
        return columns
    kept = wanted(columns[Columns.HEAD])
    return {name: column[kept] for name, column in columns.items()}


def _read_shard(path: Path) -> dict[str, np.ndarray]:
    try:
        names = pq.read_schema(path).names
        missing = [name for name in _COLUMNS if name not in names]
        if missing:
            raise InputError(f"{path}: no column {missing[0]!r}; a triple shard has {', '.join(_COLUMNS)}")
        wanted = [name for name in (*_COLUMNS, _TIMESTAMP) if name in names]
        table = pq.read_table(path, columns=wanted, read_dictionary=[Columns.SPLIT], partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable triple shard: {' '.join(str(error).split())}") from None
    if any(table[name].null_count for name in _COLUMNS):
        raise InputError(f"{path}: a triple shard must not hold empty values")
    columns = {name: table[name].to_numpy() for name in _COLUMNS if name != Columns.SPLIT}
    has_times = _TIMESTAMP in wanted
    columns[_TIMESTAMP] = pc.fill_null(table[_TIMESTAMP], 0).to_numpy() if has_times else np.zeros(len(table), np.int64)
    return {**columns, Columns.SPLIT: _read_splits(table[Columns.SPLIT], str(path))}


def _read_splits(column: pa.ChunkedArray, origin: str) -> np.ndarray:
    """Positions in `SPLITS`, int8 (n,)."""
    split = column.combine_chunks()
    chunks = split.chunks if isinstance(split, pa.ChunkedArray) else [split]
    codes = [_dictionary_codes(chunk, origin) for chunk in chunks]
    return np.concatenate(codes) if codes else np.zeros(0, np.int8)


def _dictionary_codes(chunk: pa.Array, origin: str) -> np.ndarray:
    """Codes of one dictionary-encoded chunk: only its few distinct names become Python strings."""
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    indices = chunk.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    used = np.unique(indices)
    names = np.array([chunk.dictionary[int(i)].as_py() for i in used], dtype=object)
    codes = np.zeros(len(chunk.dictionary), np.int8)
    codes[used] = split_codes(names, origin)
    return codes[indices]
