"""The lists of the chosen users: what each one liked beside what each one gets, and what each one got last night."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.report.night_page.night import PageNight, has_columns, stream
from kgspark.report.night_page.triples import Likes
from kgspark.tables import RATINGS, RECOMMENDATIONS, Columns

# Rows of a list, and of a history, that are on the page.
LIST_ROWS, HISTORY_ROWS = 20, 24


@dataclass(frozen=True)
class UserLists:
    """One user. Movies are positions.

    liked   movie, rating (None without one), day as YYYY-MM-DD (empty without one): the best rated and latest first
    listed  movie, score, reason (-1 without one), source
    before  the movies of the list of the night before, by rank; None if the user had none
    """

    id: str
    likes: int
    liked: Sequence[tuple[int, float | None, str]]
    listed: Sequence[tuple[int, float, int, str]]
    before: Sequence[int] | None

    @property
    def movies(self) -> set[int]:
        """All movies that are named."""
        named = {row[0] for row in self.liked} | {row[0] for row in self.listed} | {row[2] for row in self.listed}
        return (named | set(self.before or ())) - {-1}


def user_lists(night: PageNight, users: np.ndarray, likes: Likes) -> list[UserLists]:
    """The lists of the users at these positions."""
    ids = night.user_ids.take(pa.array(users))
    texts, listed = [str(one) for one in ids.to_pylist()], _listed(night, ids)
    before = _listed_before(night, ids)
    liked = _liked(night, users, ids, likes.pairs)
    return [
        UserLists(
            text, int(likes.of_users[user]), liked[text], listed[text], None if before is None else before.get(text)
        )
        for user, text in zip(users.tolist(), texts, strict=True)
    ]


def _listed(night: PageNight, ids: pa.Array) -> dict[str, list[tuple[int, float, int, str]]]:
    names = night.names
    columns = (names.user_id, Columns.RANK, names.movie_id, Columns.SCORE, Columns.SOURCE, names.reason_movie_id)
    where = pc.field(names.user_id).isin(ids) & (pc.field(Columns.RANK) <= LIST_ROWS)
    found: dict[str, list[Any]] = defaultdict(list)
    for batch in stream(night.run.table(RECOMMENDATIONS), columns, where):
        reasons = batch[names.reason_movie_id]
        columns_of_rows = (
            batch[names.user_id].to_pylist(),
            batch[Columns.RANK].to_pylist(),
            night.positions(batch[names.movie_id]).tolist(),
            batch[Columns.SCORE].to_pylist(),
            night.positions(reasons).tolist(),
            batch[Columns.SOURCE].to_pylist(),
        )
        for user, rank, movie, score, reason, source in zip(*columns_of_rows, strict=True):
            found[str(user)].append((rank, movie, score, reason, source))
    lists = {user: [tuple(row[1:]) for row in sorted(rows)] for user, rows in found.items()}
    return defaultdict(list, lists)


def _listed_before(night: PageNight, ids: pa.Array) -> dict[str, list[int]] | None:
    """The lists of the night before; None if there are none, or if they have other names of columns."""
    folder, names = night.context.before_lists, night.names
    columns = (names.user_id, Columns.RANK, names.movie_id)
    if folder is None or not has_columns(folder, columns):
        return None
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    where = _with_ids(folder, names.user_id, ids) & (pc.field(Columns.RANK) <= LIST_ROWS)
    for batch in stream(folder, columns, where):
        movies = night.positions(batch[names.movie_id]).tolist()
        rows = zip(batch[names.user_id].to_pylist(), batch[Columns.RANK].to_pylist(), movies, strict=True)
        for user, rank, movie in rows:
            found[str(user)].append((rank, movie))
    return {user: [movie for _, movie in sorted(rows)] for user, rows in found.items()}


def _with_ids(folder: Path, column: str, ids: pa.Array) -> pc.Expression:
    """The rows of these ids, which an earlier night may have had as numbers and this one as texts, or the reverse."""
    import pyarrow.dataset as ds

    kind = ds.dataset(sorted(folder.glob("*.parquet"))).schema.field(column).type
    return pc.field(column).isin(ids) if kind == ids.type else pc.field(column).cast(ids.type).isin(ids)


def _liked(
    night: PageNight, users: np.ndarray, ids: pa.Array, pairs: np.ndarray
) -> dict[str, list[tuple[int, float | None, str]]]:
    texts = dict(zip(users.tolist(), (str(one) for one in ids.to_pylist()), strict=True))
    rated = _rated(night, ids)
    histories: dict[str, list[tuple[int, float | None, float]]] = defaultdict(list)
    for user, movie in pairs.tolist():
        rating, time = rated.get((texts[user], movie), (None, 0.0))
        histories[texts[user]].append((movie, rating, time))
    return defaultdict(list, {user: _best(rows) for user, rows in histories.items()})


def _best(rows: Sequence[tuple[int, float | None, float]]) -> list[tuple[int, float | None, str]]:
    ordered = sorted(rows, key=lambda row: (-(row[1] or 0), -row[2], row[0]))[:HISTORY_ROWS]
    return [(movie, rating, _day(time)) for movie, rating, time in ordered]


def _day(seconds: float) -> str:
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]")) if seconds else ""


def _rated(night: PageNight, ids: pa.Array) -> dict[tuple[str, int], tuple[float | None, float]]:
    """Rating and time by user and movie, of these users alone."""
    folder = night.run.table(RATINGS)
    more = [name for name in (Columns.RATING, Columns.TIMESTAMP) if has_columns(folder, [name])]
    found = {}
    where = pc.field(Columns.USER_ID).isin(ids)
    for batch in stream(folder, (Columns.USER_ID, Columns.MOVIE_ID, *more), where):
        movies = night.positions(batch[Columns.MOVIE_ID]).tolist()
        values = {name: batch[name].to_pylist() for name in more}
        nothing = [None] * len(movies)
        rows = zip(
            batch[Columns.USER_ID].to_pylist(),
            movies,
            values.get(Columns.RATING, nothing),
            values.get(Columns.TIMESTAMP, nothing),
            strict=True,
        )
        for user, movie, rating, time in rows:
            found[str(user), movie] = (rating, float(time or 0))
    return found
