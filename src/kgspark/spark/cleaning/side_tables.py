"""The side tables movies, users and tags, read from lines of any dialect or from Parquet."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.spark.cleaning.dialects import ML_100K_GENRES
from kgspark.spark.cleaning.layouts import TextLayout
from kgspark.spark.cleaning.lines import LINE_COLUMNS, fields, is_header, line_problem, read_lines
from kgspark.spark.cleaning.parquet_files import ParquetFiles, union
from kgspark.spark.cleaning.source_files import SourceFiles
from kgspark.tables import MOVIES, TAGS, USERS, Columns

_NO_GENRES = "(no genres listed)"


@dataclass(frozen=True)
class SideTable:
    """The recipe to make a side table from lines.

    ids    the id columns, which must not be blank, and which have the type of the ratings' ids
    texts  further columns that must not be blank
    build  makes the clean table of the `good_rows`
    """

    ids: tuple[str, ...]
    build: Callable[[DataFrame], DataFrame]
    texts: tuple[str, ...] = ()

    def required(self, id_type: str) -> dict[str, str]:
        """Spark types of the columns that must not be blank."""
        return dict.fromkeys(self.ids, id_type) | dict.fromkeys(self.texts, "string")


def read_side_table(
    session: SparkSession, files: SourceFiles, layout: TextLayout, required: dict[str, str]
) -> DataFrame:
    """A side table with typed ids, one row per line. Lazy.

    required  columns that must not be blank, and their types (bigint or string)
    Columns: those of the layout (strings, ids typed), `reason` (null if the line is good), `header`, `LINE_COLUMNS`.
    """
    lines = read_lines(session, files, layout).withColumn("fields", fields(layout))
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    reason = F.when(line_problem(layout).isNotNull(), line_problem(layout))
    for name, spark_type in required.items():
        reason = _value_problem(reason, name, at[name], spark_type)
    columns = [at[name].try_cast(required.get(name, "string")).alias(name) for name in layout.columns]
    return lines.select(*columns, reason.alias("reason"), is_header(layout).alias("header"), *LINE_COLUMNS)


def read_parquet_movies(session: SparkSession, files: ParquetFiles, id_type: str) -> DataFrame:
    """A movie table in Parquet, in the form of `read_side_table`; title and genres may be absent. Lazy."""
    return union([_typed_movies(part, id_type) for part in files.read(session)])


def _typed_movies(table: DataFrame, id_type: str) -> DataFrame:
    id_text = F.col(Columns.MOVIE_ID).cast("string")
    no_problem = F.when(F.lit(False), F.lit(""))
    return table.select(
        id_text.try_cast(id_type).alias(Columns.MOVIE_ID),
        *[name for name in (Columns.TITLE, Columns.GENRES) if name in table.columns],
        _value_problem(no_problem, Columns.MOVIE_ID, id_text, id_type).alias("reason"),
        "header",
        *LINE_COLUMNS,
    )


def _value_problem(reason: Column, name: str, text: Column, spark_type: str) -> Column:
    reason = reason.when(text.isNull() | (F.trim(text) == ""), f"missing_{name}")
    if spark_type == "bigint":
        number = text.try_cast("bigint")
        reason = reason.when(number.isNull(), f"bad_{name}").when(number < 0, f"negative_{name}")
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
    timestamp = F.col(Columns.TIMESTAMP).try_cast("bigint").alias(Columns.TIMESTAMP)
    return rows.where(F.trim(Columns.TAG) != "").select(Columns.USER_ID, Columns.MOVIE_ID, tag, timestamp)


SIDE_TABLES = {
    MOVIES: SideTable((Columns.MOVIE_ID,), movies_table),
    USERS: SideTable((Columns.USER_ID,), users_table),
    TAGS: SideTable((Columns.USER_ID, Columns.MOVIE_ID), tags_table, texts=(Columns.TAG,)),
}
