"""The ratings for evaluation protocols: a dense core, ratings of known users and movies, or published files."""

from collections.abc import Mapping
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.ids import read_id
from kgspark.spark.stored import spark_path
from kgspark.tables import TEST, TRAIN, Columns

_PAIR = (Columns.USER_ID, Columns.MOVIE_ID)


def find_core(ratings: DataFrame, least: int) -> DataFrame:
    """The largest set of ratings in which every user and every movie has `least` or more (the k-core), persisted.

    Runs one Spark job per round, until a round removes nothing.
    """
    ratings = ratings.persist()
    rows = ratings.count()
    while True:
        smaller = ratings
        for key in _PAIR:
            smaller = named_by(smaller, smaller.groupBy(key).count().where(F.col("count") >= least), key)
        smaller = smaller.persist()
        left = smaller.count()
        ratings.unpersist()
        if left == rows:
            return smaller
        ratings, rows = smaller, left


def without_cold(ratings: DataFrame) -> DataFrame:
    """Removes test ratings whose user or movie has no rating outside the test; `ratings` has the column split. Lazy."""
    earlier = ratings.where(F.col(Columns.SPLIT) != TEST)
    test = ratings.where(F.col(Columns.SPLIT) == TEST)
    for key in _PAIR:
        test = named_by(test, earlier, key)
    return earlier.unionByName(test)


def named_by(table: DataFrame, other: DataFrame, key: str) -> DataFrame:
    """The rows of `table` whose `key` occurs in the other table. Lazy."""
    named = table.join(other.select(key).distinct(), on=key, how="left_semi")
    return named.select(*table.columns)  # the join moves its key to the front


def read_split_files(
    session: SparkSession, train: Path, test: Path, id_type: str | None = None
) -> tuple[DataFrame, str]:
    """Ratings (user_id, movie_id, empty rating and timestamp, split) of `user item item ...` lines, and the ids' type.

    id_type  the type that the ids must have; None: bigint if all ids of both files are whole numbers, else string

    A pair that occurs twice counts once, and a pair in both files belongs to train. Runs Spark jobs that check the
    lines. Raises InputError for a file that is missing or empty, and with its number for a line that cannot be read.
    """
    files = {TRAIN: (train, _read_lines(session, train)), TEST: (test, _read_lines(session, test))}
    id_type = id_type or _find_id_type(*[lines for _, lines in files.values()])
    parts = []
    for name, (path, lines) in files.items():
        _check_lines(lines, path, _unreadable(id_type))
        parts.append(_pairs(lines, id_type).withColumn(Columns.SPLIT, F.lit(name)))
    pairs = parts[0].unionByName(parts[1])
    pairs = pairs.groupBy(*_PAIR).agg(F.max(Columns.SPLIT).alias(Columns.SPLIT))  # train sorts after test
    unknown = _nulls(Columns.RATING, "double"), _nulls(Columns.TIMESTAMP, "bigint")
    return pairs.select(*_PAIR, *unknown, Columns.SPLIT), id_type


def read_sequences(session: SparkSession, path: Path, id_type: str | None = None) -> tuple[DataFrame, str]:
    """Ratings (user_id, movie_id, empty rating, timestamp) of lines `user item item ...`, and the ids' type.

    The items of a line are in order of time, and the place of each, from 1, is its timestamp. An item that occurs twice
    counts once, at its later place, as the latest rating of a pair does in cleaning.

    id_type  the type that the ids must have; None: bigint if all ids are whole numbers, else string

    Runs Spark jobs that check the lines. Raises InputError for a file that is missing or empty; and with the number of
    the line for one that cannot be read, that names no item, or whose user has an earlier line.
    """
    lines = _read_lines(session, path)
    id_type = id_type or _find_id_type(lines)
    of_user = Window.partitionBy(read_id(F.col("user"), id_type)).orderBy("row")
    problems = _unreadable(id_type) | {
        "has no item; expected `user item item ...`, separated by blanks": F.size("items") == 0,
        "is of a user with an earlier line; write all items of a user in one line, in order of time": (
            F.row_number().over(of_user) > 1
        ),
    }
    _check_lines(lines, path, problems)
    places = _pairs(lines, id_type).groupBy(*_PAIR).agg(F.max("place").alias(Columns.TIMESTAMP))
    return places.select(*_PAIR, _nulls(Columns.RATING, "double"), Columns.TIMESTAMP), id_type


def _read_lines(session: SparkSession, path: Path) -> DataFrame:
    """user string (null in a blank line), items array<string>, readable boolean, row bigint (ascending). Lazy."""
    try:
        text = session.read.text(spark_path(session, path))
    except AnalysisException:
        raise InputError(f"{path}: no such file of lines `user item item ...`") from None
    words = F.filter(F.split(F.make_valid_utf8("value"), r"\s+"), lambda word: word != "")
    lines = text.select(
        words.alias("words"),
        F.is_valid_utf8("value").alias("readable"),
        F.monotonically_increasing_id().alias("row"),
    )
    items = F.when(F.size("words") > 1, F.slice("words", 2, F.size("words"))).otherwise(F.array().cast("array<string>"))
    lines = lines.select(F.get("words", F.lit(0)).alias("user"), items.alias("items"), "readable", "row")
    if lines.where(F.size("items") > 0).isEmpty():
        raise InputError(f"{path}: no line names a user and an item; expected lines of `user item item ...`")
    return lines


def _find_id_type(*parts: DataFrame) -> str:
    """bigint if all ids are whole numbers, else string."""
    whole = F.bool_and(~_has_other_ids("bigint"))
    return "bigint" if all(lines.where("user is not null").agg(whole).collect()[0][0] for lines in parts) else "string"


def _has_other_ids(id_type: str) -> Column:
    """True for a line with an id that is not of the type."""
    ids = F.concat(F.array("user"), F.col("items"))
    return F.exists(ids, lambda text: read_id(text, id_type).isNull())


def _unreadable(id_type: str) -> dict[str, Column]:
    """The problems of a line in any file, see `_check_lines`."""
    return {
        "is no text in utf-8; save the file in utf-8": ~F.col("readable"),
        "has an id that is no whole number, and source.path has such ids only; correct it, or set evaluate.ids=own": (
            _has_other_ids(id_type)
        ),
    }


def _check_lines(lines: DataFrame, path: Path, problems: Mapping[str, Column]) -> None:
    """InputError for the first line that has one of the problems; a line has the first problem that is true."""
    problem = F.coalesce(*[F.when(is_so, F.lit(text)) for text, is_so in problems.items()])
    tried = lines.where(F.col("user").isNotNull()).select("row", problem.alias("problem"))
    bad = tried.where(F.col("problem").isNotNull()).orderBy("row").first()
    if bad is not None:
        line = lines.where(F.col("row") <= bad["row"]).count()  # the parts of one file are read in their order
        raise InputError(f"{path}:{line}: the line {bad['problem']}")


def _pairs(lines: DataFrame, id_type: str) -> DataFrame:
    """user_id, movie_id, place bigint: the items of every line, numbered from 1. Lazy."""
    items = lines.select("user", F.posexplode("items").alias("place", "item"))
    ids = [read_id(F.col(name), id_type).alias(column) for name, column in zip(("user", "item"), _PAIR, strict=True)]
    return items.select(*ids, (F.col("place") + 1).cast("bigint").alias("place"))


def _nulls(name: str, data_type: str) -> Column:
    return F.lit(None).cast(data_type).alias(name)
