"""Movies, users and tags: the tables beside the ratings, read from lines of any dialect."""

from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.dialects import ML_100K_GENRES, TextLayout
from kgspark.spark.cleaning.lines import fields, is_header, line_problem, parquet_positions, read_lines
from kgspark.spark.settings import Columns

NO_GENRES = "(no genres listed)"


def read_table(session: SparkSession, path: Path, layout: TextLayout, required: dict[str, str]) -> DataFrame:
    """A side table with typed ids, one row a line.

    required  columns that must not be blank, and their types (bigint or string)
    Columns: those of the layout (strings, ids typed), `reason` (null where the line is good),
    `header`, `raw`, and the position.
    """
    lines = read_lines(session, path, layout).withColumn("fields", fields(layout))
    at = {name: F.try_element_at("fields", F.lit(i + 1)) for i, name in enumerate(layout.columns)}
    reason = F.when(line_problem(layout).isNotNull(), line_problem(layout))
    for name, kind in required.items():
        reason = _value_problem(reason, name, at[name], kind)
    columns = [at[name].try_cast(required.get(name, "string")).alias(name) for name in layout.columns]
    return lines.select(
        *columns, reason.alias("reason"), is_header(layout).alias("header"), "raw", "file", "block", "row"
    )


def _value_problem(reason: Column, name: str, text: Column, kind: str) -> Column:
    reason = reason.when(text.isNull() | (F.trim(text) == ""), f"missing_{name}")
    if kind == "bigint":
        number = text.try_cast("bigint")
        reason = reason.when(number.isNull(), f"bad_{name}").when(number < 0, f"negative_{name}")
    return reason


def good_rows(rows: DataFrame) -> DataFrame:
    """The data lines that passed."""
    return rows.where(~F.col("header") & F.col("reason").isNull())


def movies_table(rows: DataFrame) -> DataFrame:
    """movie_id, title, year (int or null), genres array<string>; one row a movie, whatever the order of the lines."""
    if "unknown" in rows.columns:  # MovieLens-100k: one 0/1 column a genre
        flags = [F.when(F.col(f"`{genre}`") == "1", F.lit(genre)) for genre in ML_100K_GENRES[1:]]
        genres = F.array_compact(F.array(*flags))
    elif dict(rows.dtypes).get("genres", "").startswith("array"):
        genres = F.col("genres")
    elif "genres" in rows.columns:
        genres = F.split("genres", r"\|")
    else:
        genres = F.array().cast("array<string>")
    named = F.filter(genres, lambda genre: (F.trim(genre) != "") & (genre != NO_GENRES))
    title = F.col("title") if "title" in rows.columns else F.lit(None).cast("string")
    movies = rows.select("movie_id", F.trim(title).alias("title"), _year(title).alias("year"), named.alias("genres"))
    first = F.min(F.struct("title", "year", "genres")).alias("first")
    return movies.groupBy("movie_id").agg(first).select("movie_id", "first.title", "first.year", "first.genres")


def _year(title: Column) -> Column:
    """The release year that MovieLens writes behind the title: `Toy Story (1995)`."""
    year = F.regexp_extract(title, r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$", 1)
    return F.when(year != "", year.cast("int"))


def users_table(rows: DataFrame) -> DataFrame:
    """user_id, gender, age, occupation, zip_code (strings); one row a user, whatever the order of the lines."""
    attributes = ("gender", "age", "occupation", "zip_code")
    first = F.min(F.struct(*attributes)).alias("first")
    return rows.groupBy("user_id").agg(first).select("user_id", *[f"first.{name}" for name in attributes])


def tags_table(rows: DataFrame) -> DataFrame:
    """user_id, movie_id, tag (lower case), timestamp bigint."""
    tag = F.lower(F.trim("tag")).alias("tag")
    return rows.where(F.trim("tag") != "").select(
        "user_id", "movie_id", tag, F.col("timestamp").try_cast("bigint").alias("timestamp")
    )


def read_parquet_movies(session: SparkSession, path: Path, columns: Columns, id_type: str) -> DataFrame:
    """A movie table in Parquet as `read_table` gives one of lines; title and genres may be missing."""
    table = session.read.parquet(str(path))
    if columns.movie not in table.columns:
        raise InputError(
            f"{path}: the table lacks the column {columns.movie}; found {', '.join(table.columns)}; "
            "name the columns in source.columns"
        )
    id_text = F.col(columns.movie).cast("string")
    no_problem = F.when(F.lit(False), F.lit(""))
    described = {columns.title: "title", columns.genres: "genres"}
    return table.select(
        id_text.try_cast(id_type).alias("movie_id"),
        *[F.col(theirs).alias(ours) for theirs, ours in described.items() if theirs in table.columns],
        _value_problem(no_problem, "movie_id", id_text, id_type).alias("reason"),
        *parquet_positions(table),
    )
