"""Clean tables from frames: names and types of the columns as a night's own tables have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.answers.frames import from_frame
from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.tables import MOVIES, RATINGS, TAGS, USERS, Columns

_NO_GENRES = "(no genres listed)"
_YEAR = r"\((?P<year>\d{4})(?:[-–]\d{0,4})?\)\s*$"
_FACTS_OF_USERS = ("gender", "age", "occupation", "zip_code")


@dataclass(frozen=True)
class CleanTables:
    """The tables by name; `users`, `movies` and `tags` may be missing.

    ratings  user_id, movie_id, rating double, timestamp int64 or double (missing without times): one row per pair
    movies   movie_id, title, year, genres list<string>, and further columns of the frame
    """

    tables: dict[str, pa.Table]

    @property
    def ratings(self) -> pa.Table:
        """One row per user and movie."""
        return self.tables[RATINGS]

    @property
    def has_times(self) -> bool:
        """True if ratings have times."""
        return Columns.TIMESTAMP in self.ratings.column_names


def clean_tables(
    source: SourceSettings, interactions: Any, items: Any = None, users: Any = None, tags: Any = None
) -> CleanTables:
    """The tables of frames of pandas, Arrow or Polars, whose columns `source.columns` names.

    Raises InputError for a column that is missing or of another type, an empty value, and a repeated item or user.
    """
    ratings = _ratings(source, from_frame(interactions, "interactions"))
    tables = {RATINGS: ratings}
    kinds = {key: ratings[key].type for key in (Columns.USER_ID, Columns.MOVIE_ID)}
    if items is not None:
        named = {source.columns.movies_id or source.columns.movie: Columns.MOVIE_ID}
        named |= {source.columns.title: Columns.TITLE, source.columns.genres: Columns.GENRES}
        frame = _renamed(from_frame(items, "items"), named)
        tables[MOVIES] = _movies(source, _with_ids(frame, "items", kinds, (Columns.MOVIE_ID,)))
        _check_known(ratings[Columns.MOVIE_ID], tables[MOVIES][Columns.MOVIE_ID])
    if users is not None:
        frame = _renamed(from_frame(users, "users"), {source.columns.user: Columns.USER_ID})
        tables[USERS] = _unique(_with_ids(frame, "users", kinds, (Columns.USER_ID,)), "users", Columns.USER_ID)
        for name in _FACTS_OF_USERS:  # a relation over a fact that the frame lacks has no triple
            if name not in tables[USERS].column_names:
                tables[USERS] = tables[USERS].append_column(name, pa.nulls(len(tables[USERS]), pa.string()))
    if tags is not None:
        named = {source.columns.user: Columns.USER_ID, source.columns.movie: Columns.MOVIE_ID}
        frame = _with_ids(_renamed(from_frame(tags, "tags"), named), "tags", kinds, tuple(kinds))
        tables[TAGS] = _tags(frame)
    return CleanTables(tables)


def numbers_of(table: pa.Table) -> dict[str, np.ndarray]:
    """The columns of numbers, float64 (n,), by name; missing values are NaN."""
    kinds = {field.name: field.type for field in table.schema}
    numeric = [name for name, kind in kinds.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    return {name: table[name].combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False) for name in numeric}


def _ratings(source: SourceSettings, frame: pa.Table) -> pa.Table:
    columns = source.columns
    if columns.rating is None:
        raise InputError("interactions: expected a column of ratings; events without ratings need a night")
    named = {columns.user: Columns.USER_ID, columns.movie: Columns.MOVIE_ID, columns.rating: Columns.RATING}
    if columns.timestamp is not None:
        named[columns.timestamp] = Columns.TIMESTAMP
    for name in named:
        if name not in frame.column_names:
            raise InputError(
                f"interactions: no column {name!r}; it has {', '.join(frame.column_names)}; source.columns names them"
            )
    frame = _renamed(frame.select(list(named)), named)
    kinds = {key: _id_type(frame, "interactions", key) for key in (Columns.USER_ID, Columns.MOVIE_ID)}
    if len({str(kind) for kind in kinds.values()}) > 1:
        kinds = dict.fromkeys(kinds, pa.string())
    frame = _with_ids(frame, "interactions", kinds, tuple(kinds))
    rating = _cast(frame, "interactions", Columns.RATING, pa.float64())
    if rating.null_count or not pc.all(pc.is_finite(rating)).as_py():
        raise InputError("interactions: rating: expected a number in every row, found an empty one")
    frame = frame.set_column(2, Columns.RATING, rating)
    if columns.timestamp is not None:
        frame = frame.set_column(3, Columns.TIMESTAMP, _seconds(frame[Columns.TIMESTAMP]))
    return _latest(frame)


def _latest(frame: pa.Table) -> pa.Table:
    """One row per pair: the latest rating, of equal times the highest; without times the highest."""
    by_time = [(Columns.TIMESTAMP, "ascending")] if Columns.TIMESTAMP in frame.column_names else []
    keys = [(Columns.USER_ID, "ascending"), (Columns.MOVIE_ID, "ascending"), *by_time, (Columns.RATING, "ascending")]
    ordered = frame.combine_chunks().sort_by(keys)
    if len(ordered) == 0:
        raise InputError("interactions: no rows")
    pairs = [ordered[key].combine_chunks().dictionary_encode().indices.to_numpy() for key, _ in keys[:2]]
    last = np.ones(len(ordered), bool)
    last[:-1] = (np.diff(pairs[0]) != 0) | (np.diff(pairs[1]) != 0)
    return ordered.filter(pa.array(last))


def _seconds(column: pa.ChunkedArray) -> pa.Array:
    """Seconds since 1970, int64 or, if some have a fraction, double."""
    column = column.combine_chunks()
    if column.null_count:
        raise InputError("interactions: timestamp: expected a time in every row, found an empty one")
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_numpy()
        return pa.array(micros // 1_000_000 if not (micros % 1_000_000).any() else micros / 1e6)
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64())
    raise InputError(
        f"interactions: timestamp: expected seconds since 1970 or times, found {column.type}; "
        "source.columns.timestamp=null if there are none"
    )


def _movies(source: SourceSettings, frame: pa.Table) -> pa.Table:
    frame = _unique(frame, "items", Columns.MOVIE_ID)
    titled = Columns.TITLE in frame.column_names
    title = pc.utf8_trim_whitespace(frame[Columns.TITLE]) if titled else pa.nulls(len(frame), pa.string())
    genres = pa.array(_genres(source, frame), pa.list_(pa.string()))
    derived = {Columns.TITLE: title, Columns.GENRES: genres}
    if Columns.YEAR not in frame.column_names:
        year = pc.struct_field(pc.extract_regex(title, _YEAR), "year")
        derived[Columns.YEAR] = pc.cast(year, pa.int32())
    others = [name for name in frame.column_names if name not in derived]
    return pa.table({**{name: frame[name] for name in others}, **derived})


def _genres(source: SourceSettings, frame: pa.Table) -> list[list[str]]:
    if Columns.GENRES not in frame.column_names:
        return [[]] * len(frame)
    none = {"", _NO_GENRES, *source.null_texts}
    lists = []
    for value in frame[Columns.GENRES].to_pylist():
        parts = value.split(source.genre_separator) if isinstance(value, str) else value or []
        trimmed = [str(part).strip(" ") for part in parts if part is not None]
        lists.append(list(dict.fromkeys(part for part in trimmed if part not in none)))
    return lists


def _tags(frame: pa.Table) -> pa.Table:
    if Columns.TAG not in frame.column_names:
        raise InputError(f"tags: no column 'tag'; it has {', '.join(frame.column_names)}")
    tag = pc.utf8_lower(pc.utf8_trim(frame[Columns.TAG].cast(pa.string()), " "))
    frame = frame.set_column(frame.schema.get_field_index(Columns.TAG), Columns.TAG, tag)
    return frame.filter(pc.and_(pc.is_valid(tag), pc.not_equal(tag, "")))


def _renamed(frame: pa.Table, named: dict[str, str]) -> pa.Table:
    return frame.rename_columns([named.get(name, name) for name in frame.column_names])


def _id_type(frame: pa.Table, where: str, key: str) -> pa.DataType:
    kind = frame[key].type
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    raise InputError(f"{where}: {key}: expected integers or texts, found {kind}")


def _with_ids(frame: pa.Table, where: str, kinds: dict[str, pa.DataType], keys: Sequence[str]) -> pa.Table:
    """The frame whose id columns have the types of the interactions'."""
    for key in keys:
        if key not in frame.column_names:
            raise InputError(f"{where}: no column of ids ({key}); it has {', '.join(frame.column_names)}")
        column = _cast(frame, where, key, kinds[key])
        empty = pa.types.is_string(kinds[key]) and pc.any(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py()
        if column.null_count or empty:
            raise InputError(f"{where}: {key}: expected an id in every row, found an empty one")
        frame = frame.set_column(frame.schema.get_field_index(key), key, column)
    return frame


def _cast(frame: pa.Table, where: str, key: str, kind: pa.DataType) -> pa.Array:
    try:
        column = frame[key].combine_chunks().cast(kind)
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    except pa.ArrowException as error:
        raise InputError(f"{where}: {key}: expected {kind}: {' '.join(str(error).split())}") from None


def _unique(frame: pa.Table, where: str, key: str) -> pa.Table:
    counts = pc.value_counts(frame[key])
    repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
    if len(repeated):
        raise InputError(f"{where}: {key} {repeated[0]['values'].as_py()} is in several rows; expected one")
    return frame


def _check_known(rated: pa.ChunkedArray, known: pa.ChunkedArray) -> None:
    unknown = pc.unique(rated.filter(pc.invert(pc.is_in(rated, value_set=known.combine_chunks()))))
    if len(unknown):
        raise InputError(
            f"items: {len(unknown):,} movies of the interactions are not there, such as {unknown[0].as_py()}; add "
            "them, or leave their interactions out"
        )
