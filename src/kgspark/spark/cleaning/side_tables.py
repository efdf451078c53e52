"""The side tables movies, users and tags, read from lines of any dialect or from Parquet."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.spark.cleaning.rating_rules import AFTER_RUN_DATE
from kgspark.spark.cleaning.source.dialects import ML_100K_GENRES
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.cleaning.source.lines import LINE_COLUMNS, fields, is_header, line_problem, read_lines
from kgspark.spark.cleaning.source.parquet_files import ParquetFiles, union
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
    files: SourceFiles,
    layout: TextLayout,
    table: SideTable,
    id_type: str,
    null_texts: Sequence[str] = (),
    until: int | None = None,
) -> DataFrame:
    """A side table with typed ids, one row per line. Lazy.

    id_type, null_texts  as for `read_id`
    until                a line with a time from this second since 1970 on is left out; None: no line
    Columns: those of the layout (strings, ids typed), `reason` (null if the line is good), `header`, `LINE_COLUMNS`.
    """
    lines = read_lines(session, files, layout).withColumn("fields", fields(layout))
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    ids = {name: read_id(at[name], id_type, null_texts) for name in table.ids}
    reason = F.when(line_problem(layout).isNotNull(), line_problem(layout))
    if until is not None and Columns.TIMESTAMP in at:
        reason = reason.when(read_time(at[Columns.TIMESTAMP], "seconds") >= until, AFTER_RUN_DATE)
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
    session: SparkSession, files: ParquetFiles, id_type: str, null_texts: Sequence[str] = ()
) -> DataFrame:
    """A movie table in Parquet, in the form of `read_side_table`; title and genres may be absent. Lazy."""
    return union([_typed_movies(part, id_type, null_texts) for part in files.read(session)])


def _typed_movies(table: DataFrame, id_type: str, null_texts: Sequence[str]) -> DataFrame:
    text = id_text(table[Columns.MOVIE_ID], table.schema[Columns.MOVIE_ID].dataType)
    movie_id, no_problem = read_id(text, id_type, null_texts), F.when(F.lit(False), F.lit(""))
    return table.select(
        movie_id.alias(Columns.MOVIE_ID),
        *[name for name in (Columns.TITLE, Columns.GENRES) if name in table.columns],
        _id_reason(no_problem, Columns.MOVIE_ID, movie_id, text, id_type, null_texts).alias("reason"),
        "header",
        *LINE_COLUMNS,
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


def movies_table(rows: DataFrame, genre_separator: str = "|", null_texts: Sequence[str] = ()) -> DataFrame:
    """movie_id, title, year (int or null), genres array<string>; one row per movie, in no fixed order. Lazy."""
    title = F.col(Columns.TITLE) if Columns.TITLE in rows.columns else F.lit(None).cast("string")
    none = ("", _NO_GENRES, *null_texts)
    genres = F.transform(_genres(rows, genre_separator), lambda genre: F.trim(genre))
    named = F.array_distinct(F.filter(genres, lambda genre: ~genre.isin(*none)))
    movies = rows.select(
        Columns.MOVIE_ID,
        F.trim(title).alias(Columns.TITLE),
        _year(title).alias(Columns.YEAR),
        F.coalesce(named, F.array().cast("array<string>")).alias(Columns.GENRES),
    )
    return _best_per_id(movies, Columns.MOVIE_ID, (Columns.TITLE, Columns.YEAR, Columns.GENRES))


def _genres(rows: DataFrame, separator: str) -> Column:
    """The genres as array<string>, with blanks around them."""
    if "unknown" in rows.columns:  # MovieLens-100k: one 0/1 column per genre
        flags = [F.when(F.col(f"`{genre}`") == "1", F.lit(genre)) for genre in ML_100K_GENRES[1:]]
        return F.array_compact(F.array(*flags))
    if Columns.GENRES not in rows.columns:
        return F.array().cast("array<string>")
    if dict(rows.dtypes)[Columns.GENRES].startswith("array"):
        return F.col(Columns.GENRES)
    # pandas writes a list as ['Action', 'Comedy']; Spark's JSON also has single quotes.
    is_list = F.trim(Columns.GENRES).rlike(r"^\[.*\]$")
    listed = F.when(is_list, F.from_json(Columns.GENRES, "array<string>"))
    return F.coalesce(listed, F.split(Columns.GENRES, re.escape(separator)))


def _year(title: Column) -> Column:
    """The release year that MovieLens writes behind the title: `Toy Story (1995)`."""
    year = F.regexp_extract(title, r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$", 1)
    return F.when(year != "", year.cast("int"))


def users_table(rows: DataFrame) -> DataFrame:
    """user_id, gender, age, occupation, zip_code (strings); one row per user, in no fixed order. Lazy."""
    return _best_per_id(rows, Columns.USER_ID, ("gender", "age", "occupation", "zip_code"))


def _best_per_id(rows: DataFrame, key: str, others: tuple[str, ...]) -> DataFrame:
    """One row per id: the one with the fewest empty columns, and of these the one whose other columns sort first."""
    types = dict(rows.dtypes)
    texts = [F.array_join(n, "") if types[n].startswith("array") else F.col(n).cast("string") for n in others]
    empty = [F.coalesce(text, F.lit("")) == "" for text in texts]
    gaps = reduce(Column.__add__, [is_empty.cast("int") for is_empty in empty])
    best = F.min(F.struct(gaps.alias("gaps"), *others)).alias("best")
    return rows.groupBy(key).agg(best).select(key, *[f"best.{name}" for name in others])


def tags_table(rows: DataFrame) -> DataFrame:
    """user_id, movie_id, tag (lower case), timestamp bigint. Lazy."""
    tag = F.lower(F.trim(Columns.TAG)).alias(Columns.TAG)
    timestamp = read_time(F.col(Columns.TIMESTAMP), "seconds").alias(Columns.TIMESTAMP)
    return rows.where(F.trim(Columns.TAG) != "").select(Columns.USER_ID, Columns.MOVIE_ID, tag, timestamp)


def side_tables(genre_separator: str = "|", null_texts: Sequence[str] = ()) -> dict[str, SideTable]:
    """The recipes of all side tables. The arguments are those of `movies_table`."""
    movies = partial(movies_table, genre_separator=genre_separator, null_texts=null_texts)
    return {
        MOVIES: SideTable((Columns.MOVIE_ID,), movies),
        USERS: SideTable((Columns.USER_ID,), users_table),
        TAGS: SideTable((Columns.USER_ID, Columns.MOVIE_ID), tags_table, texts=(Columns.TAG,)),
    }
