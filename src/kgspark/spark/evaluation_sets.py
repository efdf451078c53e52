"""Which ratings an evaluation protocol speaks of: the likes of a dense core, what is known from training, or the lines
of published split files."""

from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.tables import TEST, TRAIN


def core(ratings: DataFrame, least: int) -> DataFrame:
    """The largest set of ratings in which every user and every movie has `least` or more (the k-core)."""
    ratings = ratings.persist()
    rows = ratings.count()
    while True:
        smaller = ratings
        for key in ("user_id", "movie_id"):
            smaller = named_by(smaller, smaller.groupBy(key).count().where(F.col("count") >= least), key)
        smaller = smaller.persist()
        left = smaller.count()
        ratings.unpersist()
        if left == rows:
            return smaller
        ratings, rows = smaller, left


def without_cold(ratings: DataFrame) -> DataFrame:
    """Leaves out test ratings whose user or movie no earlier rating names; `ratings` has its split."""
    earlier = ratings.where(F.col("split") != TEST)
    test = ratings.where(F.col("split") == TEST)
    for key in ("user_id", "movie_id"):
        test = named_by(test, earlier, key)
    return earlier.unionByName(test)


def named_by(table: DataFrame, other: DataFrame, key: str) -> DataFrame:
    """The rows of `table` whose `key` the other table names."""
    named = table.join(other.select(key).distinct(), on=key, how="left_semi")
    return named.select(*table.columns)  # the join moves its key to the front


def exchange_files(session: SparkSession, train: Path, test: Path) -> tuple[DataFrame, str]:
    """Ratings (user_id, movie_id, empty rating and timestamp, split) of `user item item ...` lines, and the ids' type.

    Ids are bigint where all of both files are whole numbers, else string. A pair that stands twice counts once, and one
    that stands in both files is in train. Raises InputError for a file that is missing or names no pair.
    """
    parts = [_pairs(session, path).withColumn("split", F.lit(name)) for path, name in ((train, TRAIN), (test, TEST))]
    pairs = parts[0].unionByName(parts[1])
    pairs = pairs.groupBy("user_id", "movie_id").agg(F.max("split").alias("split"))  # train sorts after test
    ids = [F.col(name) for name in ("user_id", "movie_id")]
    words = [F.count_if(column.try_cast("bigint").cast("string").isNull()) for column in ids]
    id_type = "string" if any(pairs.agg(*words).collect()[0]) else "bigint"
    ratings = pairs.select(
        *[column.cast(id_type).alias(name) for column, name in zip(ids, ("user_id", "movie_id"), strict=True)],
        F.lit(None).cast("double").alias("rating"),
        F.lit(None).cast("bigint").alias("timestamp"),
        "split",
    )
    return ratings, id_type


def _pairs(session: SparkSession, path: Path) -> DataFrame:
    try:
        lines = session.read.text(str(path.absolute()))
    except AnalysisException:
        raise InputError(f"{path}: no such file of lines `user item item ...`") from None
    words = F.split(F.trim("value"), r"\s+")
    named = lines.select(words[0].alias("user_id"), F.explode(F.slice(words, 2, F.size(words))).alias("movie_id"))
    if named.isEmpty():
        raise InputError(f"{path}: no line names a user and an item; expected lines of `user item item ...`")
    return named
