"""A user's history and list as text, beside each other."""

import datetime
import shutil
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from kgspark.names import Names
from kgspark.tables import Columns

_SHOWN = 20
_NARROWEST, _WIDEST, _GAP = 36, 70, 3


def user_page(page: Mapping[str, Any], words: Names, columns: Names) -> list[str]:
    """The lines of `kgspark show`.

    page   `night`, the user's id, `history` (the latest first) and `list`, as the command returns them
    words, columns  the words of the text, and the names of the columns of `page`
    """
    history, listed = page["history"], page["list"]
    width = min(_WIDEST, max(_NARROWEST, (shutil.get_terminal_size((2 * _WIDEST, 24)).columns - _GAP) // 2))
    left = [_rated(row, columns, width) for row in history[:_SHOWN]]
    right = [line for row in listed for line in _recommended(row, columns)][: 2 * _SHOWN]
    heads = f"{len(history):,} ratings, the latest first", f"the list of {page['night']}"
    lines = [f"{words.user} {page[columns.user_id]}"]
    for one, other in zip_longest([heads[0], *left], [heads[1], *right], fillvalue=""):
        lines.append(f"{_cut(one, width):<{width}}{'':{_GAP}}{_cut(other, width)}".rstrip())
    hidden = [f"{len(history) - _SHOWN:,} more ratings"] if len(history) > _SHOWN else []
    if len(listed) > _SHOWN:
        hidden.append(f"{len(listed) - _SHOWN:,} more {words.movies} of the list")
    return [*lines, *([f"{' and '.join(hidden)}: with --json"] if hidden else [])]


def _rated(row: Mapping[str, Any], columns: Names, width: int) -> str:
    rating = "" if row[Columns.RATING] is None else f"{row[Columns.RATING]:g}"
    title = row[Columns.TITLE] or str(row[columns.movie_id])
    return f"{rating:>4}  {_cut(title, width - 18):<{width - 18}}  {_date(row[Columns.TIMESTAMP])}".rstrip()


def _date(timestamp: float | None) -> str:
    if timestamp is None:
        return ""
    day = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=float(timestamp))
    return day.date().isoformat()


def _recommended(row: Mapping[str, Any], columns: Names) -> Sequence[str]:
    title = row[Columns.TITLE] or str(row[columns.movie_id])
    lines = [f"{row[Columns.RANK]:>3}. {title}  {row[Columns.SCORE]:.4g}"]
    reason = row["reason_title"] or row.get(columns.reason_movie_id)
    if reason is not None:
        return [*lines, f"       because of {reason}"]
    return [*lines, f"       {row[Columns.SOURCE]}"]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
