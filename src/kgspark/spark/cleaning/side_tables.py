"""The side tables movies, users and tags, read from lines of any dialect or from Parquet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.dialects import ML_100K_GENRES, TextLayout
from kgspark.spark.cleaning.lines import LINE_COLUMNS, fields, is_header, line_problem, parquet_positions, read_lines
from kgspark.spark.cleaning.settings import SourceColumns
from kgspark.spark.cleaning.values import read_time
from kgspark.spark.ids import id_problems, id_text, is_missing_id, read_id
from kgspark.tables import MOVIES, TAGS, USERS, Columns

_NO_GENRES = "(no genres listed)"


@dataclass(frozen=True)
class SideTable:
    """The recipe to make a side table from lines.

    ids    the id columns
    texts  further columns that must not be blank
    build  makes the clean table of the `good_rows`
    """

    ids: tuple[str, ...]
    build: Callable[[DataFrame], DataFrame]
    texts: tuple[str, ...] = ()


def read_side_table(
    session: SparkSession,
    path: Path,
    layout: TextLayout,
    table: SideTable,
    id_type: str,
    null_texts: Sequence[str] = (),
) -> DataFrame:
    """A side table with typed ids, one row per line. Lazy.

    id_type, null_texts  as for `read_id`
    Columns: those of the layout (strings, ids typed), `reason` (null if the line is good), `header`, `LINE_COLUMNS`.
    """
    lines = read_lines(session, path, layout).withColumn("fields", fields(layout))
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    ids = {name: read_id(at[name], id_type, null_texts) for name in table.ids}
    reason = F.when(line_problem(layout).isNotNull(), line_problem(layout))
    for name in table.ids:
        reason = _id_reason(reason, name, ids[name], at[name], id_type, null_texts)
    for name in table.texts:
        reason = reason.when(is_missing_id(at[name]), f"missing_{name}")
    return lines.select(
        *[column.alias(name) for name, column in (at | ids).items()],
        reason.alias("reason"),
        is_header(layout).alias("header"),
        *LINE_COLUMNS,
    )


def read_parquet_movies(
    session: SparkSession, path: Path, columns: SourceColumns, id_type: str, null_texts: Sequence[str] = ()
) -> DataFrame:
    """A movie table in Parquet, in the form of `read_side_table`; title and genres may be absent. Lazy."""
    table = session.read.parquet(str(path))
    if columns.movie not in table.columns:
        raise InputError(
            f"{path}: the table lacks the column {columns.movie}; found {', '.join(table.columns)}; "
            "name the columns in source.columns"
        )
    text = id_text(table[columns.movie], table.schema[columns.movie].dataType)
    movie_id, no_problem = read_id(text, id_type, null_texts), F.when(F.lit(False), F.lit(""))
    described = {columns.title: Columns.TITLE, columns.genres: Columns.GENRES}
    return table.select(
        movie_id.alias(Columns.MOVIE_ID),
        *[F.col(theirs).alias(ours) for theirs, ours in described.items() if theirs in table.columns],
        _id_reason(no_problem, Columns.MOVIE_ID, movie_id, text, id_type, null_texts).alias("reason"),
        *parquet_positions(table),
    )


def _id_reason(
    reason: Column, name: str, read: Column, text: Column, id_type: str, null_texts: Sequence[str]
) -> Column:
    """`reason` with the problems of an id behind it."""
    for problem, is_so in id_problems(read, text, id_type, null_texts).items():
        reason = reason.when(is_so, f"{problem}_{name}")
    return reason


def good_rows(rows: DataFrame) -> DataFrame:
    """The data lines without a reason to refuse them. Lazy."""
    return rows.where(~F.col("header") & F.col("reason").isNull())


def movies_table(rows: DataFrame) -> DataFrame:
    """movie_id, title, year (int or null), genres array<string>; one row per movie, in no fixed order. Lazy."""
    title = F.col(Columns.TITLE) if Columns.TITLE in rows.columns else F.lit(None).cast("string")
    named = F.filter(_genres(rows), lambda genre: (F.trim(genre) != "") & (genre != _NO_GENRES))
    movies = rows.select(
        Columns.MOVIE_ID,
        F.trim(title).alias(Columns.TITLE),
        _year(title).alias(Columns.YEAR),
        named.alias(Columns.GENRES),
    )
    return _first_per_id(movies, Columns.MOVIE_ID, (Columns.TITLE, Columns.YEAR, Columns.GENRES))


def _genres(rows: DataFrame) -> Column:
    if "unknown" in rows.columns:  # MovieLens-100k: one 0/1 column per genre
        flags = [F.when(F.col(f"`{genre}`") == "1", F.lit(genre)) for genre in ML_100K_GENRES[1:]]
        return F.array_compact(F.array(*flags))
    if dict(rows.dtypes).get(Columns.GENRES, "").startswith("array"):
        return F.col(Columns.GENRES)
    if Columns.GENRES in rows.columns:
        return F.split(Columns.GENRES, r"\|")
    return F.array().cast("array<string>")


def _year(title: Column) -> Column:
    """The release year that MovieLens writes behind the title: `Toy Story (1995)`."""
    year = F.regexp_extract(title, r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$", 1)
    return F.when(year != "", year.cast("int"))


def users_table(rows: DataFrame) -> DataFrame:
    """user_id, gender, age, occupation, zip_code (strings); one row per user, in no fixed order. Lazy."""
    return _first_per_id(rows, Columns.USER_ID, ("gender", "age", "occupation", "zip_code"))


def _first_per_id(rows: DataFrame, key: str, others: tuple[str, ...]) -> DataFrame:
    """One row per id: the one whose other columns sort first."""
    first = F.min(F.struct(*others)).alias("first")
    return rows.groupBy(key).agg(first).select(key, *[f"first.{name}" for name in others])


def tags_table(rows: DataFrame) -> DataFrame:
    """user_id, movie_id, tag (lower case), timestamp bigint. Lazy."""
    tag = F.lower(F.trim(Columns.TAG)).alias(Columns.TAG)
    timestamp = read_time(F.col(Columns.TIMESTAMP), "seconds").alias(Columns.TIMESTAMP)
    return rows.where(F.trim(Columns.TAG) != "").select(Columns.USER_ID, Columns.MOVIE_ID, tag, timestamp)


SIDE_TABLES = {
    MOVIES: SideTable((Columns.MOVIE_ID,), movies_table),
    USERS: SideTable((Columns.USER_ID,), users_table),
    TAGS: SideTable((Columns.USER_ID, Columns.MOVIE_ID), tags_table, texts=(Columns.TAG,)),
}
