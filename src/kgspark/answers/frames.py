"""Arrow tables from and to the frames of pandas and Polars, and ids from and to positions."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.errors import InputError

Frames = Literal["pandas", "arrow", "polars"]


def checked_frames(name: str) -> Frames:
    """The name of a kind of frame; InputError for an unknown one."""
    for known in get_args(Frames):
        if name == known:
            return known
    raise InputError(f"frames: expected one of {', '.join(get_args(Frames))}, found {name!r}")


def as_frame(table: pa.Table, frames: Frames) -> Any:
    """The table as a frame of that kind; InputError if its package is missing."""
    makers: dict[Frames, Callable[[pa.Table], Any]] = {"pandas": to_pandas, "polars": to_polars}
    return makers[frames](table) if frames in makers else table


def to_pandas(table: pa.Table) -> Any:
    """A pandas frame; InputError without pandas."""
    try:
        return table.to_pandas()
    except ImportError:
        raise InputError("pandas is not installed; pip install pandas, or ask for frames='arrow'") from None


def to_polars(table: pa.Table) -> Any:
    """A Polars frame; InputError without Polars."""
    try:
        import polars as pl
    except ImportError:
        raise InputError("polars is not installed; pip install polars, or ask for frames='arrow'") from None
    return pl.from_arrow(table)


def from_frame(frame: Any, name: str) -> pa.Table:
    """An Arrow table of a frame of Arrow, pandas or Polars; InputError for anything else.

    name  of the argument, for the error
    """
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if type(frame).__module__.startswith("pandas"):
        return pa.Table.from_pandas(frame, preserve_index=False)
    if hasattr(frame, "to_arrow"):  # Polars
        return frame.to_arrow()
    raise InputError(f"{name}: expected a frame of pandas, Arrow or Polars, found {type(frame).__name__}")


def positions_of(asked: Iterable[Any], ids: pa.Array, kind: str, origin: str, hint: str = "") -> np.ndarray:
    """The positions int64 (n,) of the external ids `asked` in `ids` (N,), in the order in which they were asked.

    kind, origin, hint  for the error: the word for one of them, where they were looked for, and what else to do

    Raises InputError for an id that is not there.
    """
    asked = list(asked)
    found = find_positions(asked, ids)
    if (found < 0).any():
        missing = [str(each) for each, place in zip(asked, found, strict=True) if place < 0]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"no {kind} {missing[0]}{more} in {origin}{hint}")
    return found


def find_positions(asked: Iterable[Any], ids: pa.Array) -> np.ndarray:
    """The same; -1 for an id that is not there, or is of another type."""
    given = _typed(asked, ids.type)
    return pc.index_in(given, value_set=ids).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def _typed(asked: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """The ids in the type of the night's: text of digits is an integer id, as words of a command line are."""
    if isinstance(asked, pa.ChunkedArray):
        asked = asked.combine_chunks()
    if isinstance(asked, pa.Array | np.ndarray) and not pa.types.is_string(kind):
        try:
            return pa.array(asked).cast(kind)
        except (pa.ArrowException, TypeError):
            pass
    return pa.array([_read(value, kind) for value in asked], type=kind)


def _read(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return value.as_py() if isinstance(value, pa.Scalar) else str(value)
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if str(number) == str(value).strip() and -(2**63) <= number < 2**63 else None
