"""The ratings for evaluation protocols: a dense core, ratings of known users and movies, or published split files."""

from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.frames import spark_path
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


def read_split_files(session: SparkSession, train: Path, test: Path) -> tuple[DataFrame, str]:
    """Ratings (user_id, movie_id, empty rating and timestamp, split) of `user item item ...` lines, and the ids' type.

    Ids are bigint if all ids of both files are whole numbers, else string; a Spark job checks this. A pair that occurs
    twice counts once, and a pair in both files belongs to train. Raises InputError for a file that is missing or empty.
    """
    parts = [
        _read_pairs(session, path).withColumn(Columns.SPLIT, F.lit(name))
        for path, name in ((train, TRAIN), (test, TEST))
    ]
    pairs = parts[0].unionByName(parts[1])
    pairs = pairs.groupBy(*_PAIR).agg(F.max(Columns.SPLIT).alias(Columns.SPLIT))  # train sorts after test
    texts = [F.count_if(F.col(name).try_cast("bigint").isNull()) for name in _PAIR]
    id_type = "string" if any(pairs.agg(*texts).collect()[0]) else "bigint"
    ratings = pairs.select(
        *[F.col(name).cast(id_type).alias(name) for name in _PAIR],
        F.lit(None).cast("double").alias(Columns.RATING),
        F.lit(None).cast("bigint").alias(Columns.TIMESTAMP),
        Columns.SPLIT,
    )
    return ratings, id_type


def _read_pairs(session: SparkSession, path: Path) -> DataFrame:
    try:
        lines = session.read.text(spark_path(path))
    except AnalysisException:
        raise InputError(f"{path}: no such file of lines `user item item ...`") from None
    words = F.split(F.trim("value"), r"\s+")
    user, movies = words[0].alias(Columns.USER_ID), F.slice(words, 2, F.size(words))
    named = lines.select(user, F.explode(movies).alias(Columns.MOVIE_ID))
    if named.isEmpty():
        raise InputError(f"{path}: no line names a user and an item; expected lines of `user item item ...`")
    return named
