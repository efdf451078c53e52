"""A look at the first and the last ids of a table, so that ids of the wrong type are told before Spark starts."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import Source
from kgspark.spark.cleaning.source.kinds import first_lines, is_compressed
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.tables import RATINGS, Columns

_LINES, _LAST_BYTES = 1000, 1 << 16
# The night stops only if most ids are wrong at both ends of a file. Fewer may be bad lines, which cleaning counts.
_SHARE = 0.5
_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]*)(?:\.0+)?")


def check_first_ids(settings: SourceSettings, source: Source) -> None:
    """InputError if `source.ids` is integer, and most ids of the first ratings file are texts; reads 128 KiB."""
    layout, files = source.layouts.get(RATINGS), source.files[RATINGS].files
    if layout is None or not source.integer_ids or not settings.has_own_columns or not files:
        return
    lines = first_lines(files[0])[:_LINES]
    number = 1 if layout.header is None else 2
    ends = [lines[number - 1 :], *([] if is_compressed(files[0]) else [_last_lines(files[0], layout)])]
    for column in (Columns.USER_ID, Columns.MOVIE_ID):
        found = [list(_texts(end, layout, column, settings.null_texts)) for end in ends]
        bad = [[text for text in texts if not _INTEGER.fullmatch(text)] for texts in found]
        if all(len(wrong) > _SHARE * len(texts) for texts, wrong in zip(found, bad, strict=True)):
            key = "user" if column == Columns.USER_ID else "movie"
            what = "begins with a zero" if re.fullmatch(r"-?0[0-9]+", bad[0][0]) else "is no whole number"
            raise InputError(
                f"{files[0]}:{number}: source.columns.{key}: {getattr(settings.columns, key)} is an integer by "
                f"source.ids, and {bad[0][0][:40]!r} {what}: set source.ids=string"
            )


def _last_lines(file: Path, layout: TextLayout) -> list[str]:
    with open(file, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _LAST_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    start = 1 if size > _LAST_BYTES or layout.header is not None else 0  # cut off, or the header
    return lines[start:][-_LINES:]


def _texts(lines: Sequence[str], layout: TextLayout, column: str, null_texts: Sequence[str]) -> Iterator[str]:
    """The ids of a column, without missing ones, of lines that can be split."""
    place = layout.columns.index(column)
    for line in lines:
        text = _field(line, layout, place)
        if text and text not in null_texts:
            yield text


def _field(line: str, layout: TextLayout, place: int) -> str:
    if layout.keys:
        try:
            value = json.loads(line).get(layout.keys[place])
        except (ValueError, AttributeError, IndexError, RecursionError):
            return ""
        return "" if value is None else str(value).strip()
    fields = line.split(layout.separator)
    if len(layout.separator) == 1 and '"' in line:
        try:
            fields = next(csv.reader([line], delimiter=layout.separator), [])
        except csv.Error:
            return ""
    return fields[place].strip() if len(fields) + len(layout.folders) == len(layout.columns) > place else ""
