"""“Watched with”: pairs of movies that people liked shortly after each other, few whatever a heavy user has seen."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.settings import CoWatchSettings

# Pairs counted in one task, within a heap of 2 GiB that two tasks share.
_PAIRS = 4_000_000


def co_watched(likes: DataFrame, settings: CoWatchSettings, most: int) -> DataFrame:
    """movie_id, other_movie_id, users: who liked the two at most `window` places apart in the order of time.

    likes  user_id, movie_id, timestamp of training likes only; a held-out like must not show up as an edge
    most   number of likes, or more; decides how many parts are counted apart, never the result
    A like makes at most `window` pairs. Each movie keeps the `top` others that most people share, of those that
    `min_users` share, so that a row may be there one way and not the other. Likes of one second go by movie id.
    """
    next_ones = Window.partitionBy("user_id").orderBy("timestamp", "movie_id").rowsBetween(1, settings.window)
    followed = likes.select("movie_id", F.collect_list("movie_id").over(next_ones).alias("next"))
    pairs = followed.select(F.col("movie_id").alias("one"), F.explode("next").alias("other"))
    ends = F.least("one", "other").alias("one"), F.greatest("one", "other").alias("other")
    # Most pairs are few people's: counting them before they are sent would take longer than it saves. What one task
    # counts must fit into its share of the heap, or it is sorted on disk, at three times the price.
    parts = max(int(str(likes.sparkSession.conf.get("spark.sql.shuffle.partitions"))), most * settings.window // _PAIRS)
    together = pairs.select(*ends).repartition(parts, "one", "other")
    shared = together.groupBy("one", "other").agg(F.count("*").alias("users"))
    shared = shared.where(F.col("users") >= settings.min_users)
    ways = [
        F.struct(F.col(movie).alias("movie_id"), F.col(other).alias("other_movie_id"), "users")
        for movie, other in (("one", "other"), ("other", "one"))
    ]
    closest = Window.partitionBy("movie_id").orderBy(F.col("users").desc(), "other_movie_id")
    ranked = shared.select(F.inline(F.array(*ways))).withColumn("place", F.row_number().over(closest))
    return ranked.where(F.col("place") <= settings.top).drop("place")
