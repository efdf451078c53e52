"""The external ids of a search space's rows, beside its vectors: one Arrow array a side.

`item_ids.arrow` and `query_ids.arrow` are Arrow IPC files of one column `id` (int64 or string); row i names vector i.
"""

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.ipc

from kgspark.errors import InputError

Side = Literal["items", "queries"]
ITEMS: Side = "items"
QUERIES: Side = "queries"
_FILES: dict[Side, str] = {ITEMS: "item_ids.arrow", QUERIES: "query_ids.arrow"}


def write_ids(folder: Path, side: Side, ids: pa.Array) -> Path:
    """Writes the external ids of `side` into an existing folder, and returns the file."""
    table = pa.table({"id": ids})
    with pa.OSFile(str(folder / _FILES[side]), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder / _FILES[side]


def read_ids(folder: Path, side: Side, rows: int) -> pa.Array:
    """The ids of `side`, memory-mapped. Raises InputError if they are missing or not as many as `rows`."""
    path = folder / _FILES[side]
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; train-embeddings writes it with the search space") from None
    if len(table) != rows:
        raise InputError(f"{path}: {len(table)} ids for {rows} vectors; they are not of the same night")
    return table["id"].combine_chunks()
