"""Tables with equal content, and tables with another one, for both functions that hash rows."""

import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

SCHEMA = pa.schema(
    [("user_id", pa.int64()), ("movie_id", pa.int64()), ("source", pa.string()), ("score", pa.float32())]
)
Row = tuple[int | None, int | None, str | None, float | None]


def some_rows(count: int = 40, seed: int = 1) -> list[Row]:
    """Rows that differ, with missing values in every column, and one row twice."""
    rng = random.Random(seed)
    rows = [(n, n % 7, f"text {n % 5}", rng.random()) for n in range(count - 5)]
    missing = [tuple(None if at == place else value for at, value in enumerate((1, 1, "", 0.0))) for place in range(4)]
    return [*rows, *missing, rows[3]]


def in_any_order(rows: list[Row]) -> Iterator[list[Row]]:
    """The same rows in other orders."""
    yield rows[::-1]
    yield random.Random(2).sample(rows, len(rows))


def changed(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows with a difference each, by what it is."""

    def with_row(place: int, row: Any) -> list[Row]:
        return [*rows[:place], tuple(row), *rows[place + 1 :]]

    user, movie, source, score = rows[9]
    other = rows[10]
    return {
        "a row is missing": rows[1:],
        "a row stands twice": [*rows, rows[5]],
        "a row stands instead of another one": with_row(9, other),
        "the second copy of a row is another one's": with_row(len(rows) - 1, rows[4]),
        "a number": with_row(9, (user, movie + 1, source, score)),
        "a text": with_row(9, (user, movie, source + " ", score)),
        "the last bit of a floating number": with_row(9, (user, movie, source, _next_float(score))),
        "two columns of a row change places": with_row(9, (movie, user, source, score)),
        "two rows exchange a value": [*rows[:9], (other[0], *rows[9][1:]), (user, *other[1:]), *rows[11:]],
        "two rows exchange their last value": [*rows[:9], (*rows[9][:3], other[3]), (*other[:3], score), *rows[11:]],
        "a missing value is in another column": with_row(len(rows) - 5, (1, None, "", 0.0)),
        "missing is zero": with_row(len(rows) - 5, (0, 1, "", 0.0)),
        "missing is an empty text": with_row(len(rows) - 3, (1, 1, "", 0.0)),
    }


def _next_float(value: float) -> float:
    bits = pa.array([value], pa.float32()).view(pa.int32())[0].as_py() + 1
    return pa.array([bits], pa.int32()).view(pa.float32())[0].as_py()


def as_table(rows: list[Row], schema: pa.Schema = SCHEMA) -> pa.Table:
    """The rows as an Arrow table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
