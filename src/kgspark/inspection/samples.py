"""The first rows of a file, with the names of its columns: CSV of the usual dialects, JSON lines, Parquet."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.errors import InputError
from kgspark.inspection.values import is_number, is_time
from kgspark.spark.cleaning.source.kinds import UNPACKING_ERRORS, Kind, kind_of, open_text, refuse_other_texts

# As much of a file is looked at.
_BYTES, ROWS = 1 << 20, 20_000
_SEPARATORS = ("::", "\t", ";", "|", ",", " ")
_LINES_OF_DIALECT = 100


@dataclass(frozen=True)
class Sample:
    """The first rows of a file.

    kind       csv, json or parquet
    columns    the texts of each column, by its name; a missing value is an empty text
    types      of Parquet: the type of each column
    separator  of CSV
    header     of CSV: the first line; empty if it has data already
    encoding   of CSV: a name that `source.encoding` takes
    """

    kind: str
    columns: Mapping[str, Sequence[str]]
    types: Mapping[str, pa.DataType]
    separator: str = ""
    header: str = ""
    encoding: str = "utf-8"

    @property
    def rows(self) -> int:
        """Number of rows that were looked at."""
        return max(map(len, self.columns.values()), default=0)


def read_sample(file: Path) -> Sample:
    """The first rows of a file; InputError if it is no table, or cannot be read."""
    if kind_of(file) == Kind.PARQUET:
        return _parquet(file)
    try:
        with open_text(file) as stream:
            start = stream.read(_BYTES)
    except UNPACKING_ERRORS as error:
        raise InputError(f"{file}: the file cannot be unpacked: {error}; it may be cut off") from None
    if len(start) == _BYTES:
        start = start[: start.rfind(b"\n") + 1] or start
    text, encoding = _decoded(start.removeprefix(b"\xef\xbb\xbf"))
    lines = [line for line in text.splitlines() if line.strip()][:ROWS]
    if not lines:
        raise InputError(f"{file}: the file is empty; expected at least one line of data")
    if lines[0].lstrip().startswith("{"):
        return _json_lines(file, lines)
    refuse_other_texts(file, lines[0])
    return _csv(file, lines, encoding)


def _decoded(start: bytes) -> tuple[str, str]:
    """The text, and the first encoding of those that cleaning reads in which the bytes are text."""
    for encoding in ("utf-8", "windows-1252"):
        try:
            return start.decode(encoding), encoding
        except UnicodeDecodeError as error:
            if encoding == "utf-8" and error.start >= len(start) - 3:  # a character that the sample cuts
                return start[: error.start].decode(), encoding
    return start.decode("iso-8859-1"), "iso-8859-1"


def _csv(file: Path, lines: Sequence[str], encoding: str) -> Sample:
    separator = _separator(lines[:_LINES_OF_DIALECT])
    if separator is None:
        raise InputError(f"{file}: no separator splits two or more lines into the same number of fields")
    rows = [_fields(line, separator) for line in lines]
    width = len(rows[0])
    rows = [row for row in rows if len(row) == width]
    has_header = _is_header(rows)
    names = [name.strip() for name in rows[0]] if has_header else [f"column_{i}" for i in range(1, width + 1)]
    if len(set(names)) < width:
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InputError(f"{file}:1: the header has {twice!r} twice; rename one of the columns")
    data = rows[1:] if has_header else rows
    columns = {name: [row[i].strip() for row in data] for i, name in enumerate(names)}
    return Sample("csv", columns, {}, separator, lines[0] if has_header else "", encoding)


def _separator(lines: Sequence[str]) -> str | None:
    """The separator that gives nearly all lines the number of fields of the first, two or more; the most fields win."""
    if len(lines) < 2:
        return None
    widths = {}
    for separator in _SEPARATORS:
        counts = [len(_fields(line, separator)) for line in lines]
        if counts[0] > 1 and counts.count(counts[0]) >= 0.95 * len(counts):
            widths[separator] = counts[0]
    if "::" in widths:
        return "::"  # a colon inside of it splits nothing
    if len(widths) > 1:
        widths.pop(" ", None)  # titles and times have blanks
    return max(widths, key=lambda separator: widths[separator], default=None)


def _fields(line: str, separator: str) -> list[str]:
    if len(separator) > 1:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """True if the first row has names: texts that are no values, unlike those of a column below."""
    first, below = rows[0], rows[1:]
    if any(not name.strip() or is_number(name) or is_time(name) for name in first):
        return False
    if not below:
        return True
    typed = [i for i in range(len(first)) if all(is_number(row[i]) or is_time(row[i]) for row in below if row[i])]
    # Without a column of numbers or times, a first row that does not occur below in any column is taken as names.
    return bool(typed) or all(all(row[i] != name for row in below) for i, name in enumerate(first))


def _json_lines(file: Path, lines: Sequence[str]) -> Sample:
    objects = []
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            objects.append(value)
    if not objects:
        raise InputError(f"{file}: the file is JSON in one piece; write one object per line")
    names = list(dict.fromkeys(name for each in objects for name in each))
    return Sample("json", {name: [_text(each.get(name)) for each in objects] for name in names}, {})


def _parquet(file: Path) -> Sample:
    try:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            batch = next(opened.iter_batches(ROWS), None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file}: the Parquet file cannot be read ({str(error).splitlines()[0][:120]})") from None
    values = {name: [] for name in schema.names} if batch is None else batch.to_pydict()
    columns = {name: [_text(value) for value in column] for name, column in values.items()}
    return Sample("parquet", columns, dict(zip(schema.names, schema.types, strict=True)))


def _text(value: object) -> str:
    """A value as it would stand in a CSV file; lists as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
