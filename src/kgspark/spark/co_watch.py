"""“Watched with”: pairs of movies that people liked shortly after each other, few whatever a heavy user has seen."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.settings import CoWatchSettings


def co_watched(likes: DataFrame, settings: CoWatchSettings) -> DataFrame:
    """movie_id, other_movie_id, users: who liked the two at most `window` places apart in the order of time.

    likes  user_id, movie_id, timestamp of training likes only; a held-out like must not show up as an edge
    A like makes at most `window` pairs. Each movie keeps the `top` others that most people share, of those that
    `min_users` share, so that a row may be there one way and not the other. Likes of one second go by movie id.
    """
    next_ones = Window.partitionBy("user_id").orderBy("timestamp", "movie_id").rowsBetween(1, settings.window)
    followed = likes.select("movie_id", F.collect_list("movie_id").over(next_ones).alias("next"))
    pairs = followed.select(F.col("movie_id").alias("one"), F.explode("next").alias("other"))
    ends = F.least("one", "other").alias("one"), F.greatest("one", "other").alias("other")
    # Most pairs are few people's: counting them before they are sent would take longer than it saves.
    together = pairs.select(*ends).repartition("one", "other")
    shared = together.groupBy("one", "other").agg(F.count("*").alias("users"))
    shared = shared.where(F.col("users") >= settings.min_users)
    ways = [
        F.struct(F.col(movie).alias("movie_id"), F.col(other).alias("other_movie_id"), "users")
        for movie, other in (("one", "other"), ("other", "one"))
    ]
    closest = Window.partitionBy("movie_id").orderBy(F.col("users").desc(), "other_movie_id")
    ranked = shared.select(F.inline(F.array(*ways))).withColumn("place", F.row_number().over(closest))
    return ranked.where(F.col("place") <= settings.top).drop("place")
