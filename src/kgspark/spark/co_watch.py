"""“Watched by the same people”: movie pairs that share users, bounded in size whatever a heavy user has seen."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.settings import CoWatchSettings


def co_watched(likes: DataFrame, settings: CoWatchSettings) -> DataFrame:
    """movie_id, other_movie_id, users (shared), similarity = shared / √(users of one · users of the other).

    likes  user_id, movie_id, timestamp of training likes only; a held-out like must not show up as an edge
    A user counts with the latest `history` likes, so there are at most history²/2 pairs a user; each movie keeps its
    `top` most similar others that share at least `min_users`.
    """
    latest = Window.partitionBy("user_id").orderBy(F.col("timestamp").desc(), F.col("movie_id"))
    recent = likes.withColumn("place", F.row_number().over(latest)).where(F.col("place") <= settings.history)
    recent = recent.select("user_id", "movie_id")
    one = recent.withColumnRenamed("movie_id", "one")
    other = recent.withColumnRenamed("movie_id", "other")
    pairs = one.join(other, on="user_id", how="inner").where(F.col("one") < F.col("other"))
    shared = pairs.groupBy("one", "other").agg(F.count("*").alias("users")).where(F.col("users") >= settings.min_users)
    fans = recent.groupBy("movie_id").agg(F.count("*").alias("fans"))
    scored = (
        shared.join(fans.select(F.col("movie_id").alias("one"), F.col("fans").alias("fans_one")), on="one", how="inner")
        .join(fans.select(F.col("movie_id").alias("other"), F.col("fans").alias("fans_other")), on="other", how="inner")
        .withColumn("similarity", F.col("users") / F.sqrt(F.col("fans_one") * F.col("fans_other")))
    )
    both_ways = scored.select(
        F.col("one").alias("movie_id"), F.col("other").alias("other_movie_id"), "users", "similarity"
    )
    both_ways = both_ways.unionByName(
        scored.select(F.col("other").alias("movie_id"), F.col("one").alias("other_movie_id"), "users", "similarity")
    )
    closest = Window.partitionBy("movie_id").orderBy(F.col("similarity").desc(), F.col("other_movie_id"))
    return (
        both_ways.withColumn("place", F.row_number().over(closest)).where(F.col("place") <= settings.top).drop("place")
    )
