"""The derived table co_watched: pairs of movies that users liked shortly after each other, and the number of users.

A user with n likes makes at most n × window pairs.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.graph.settings import CoWatchSettings
from kgspark.tables import Columns

# Pairs counted in one task, within a heap of 2 GiB that two tasks share.
_PAIRS_PER_TASK = 4_000_000


def co_watched(likes: DataFrame, settings: CoWatchSettings, most: int) -> DataFrame:
    """movie_id, other_movie_id, users: number of users who liked the two at most `window` positions apart. Lazy.

    likes  user_id, movie_id, timestamp of training likes only: a held-out like must not become an edge
    most   an upper bound on the number of likes; it decides the number of tasks, never the result

    A user's likes are ordered by time, those of the same second by movie id. A like makes at most `window` pairs. Each
    movie keeps the `top` movies with the most common users, of those with at least `min_users`; so movie A may keep B
    although B does not keep A.
    """
    in_time = Window.partitionBy(Columns.USER_ID).orderBy(Columns.TIMESTAMP, Columns.MOVIE_ID)
    following = F.collect_list(Columns.MOVIE_ID).over(in_time.rowsBetween(1, settings.window))
    pairs = likes.select(F.col(Columns.MOVIE_ID).alias("one"), following.alias("following"))
    pairs = pairs.select("one", F.explode("following").alias("other"))
    return _closest(_pair_users(pairs, _tasks(likes, settings, most)), settings)


def _tasks(likes: DataFrame, settings: CoWatchSettings, most: int) -> int:
    """Enough tasks that the pairs of each fit its part of the heap; otherwise Spark would sort them on disk, slowly."""
    usual = int(str(likes.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    return max(usual, most * settings.window // _PAIRS_PER_TASK)


def _pair_users(pairs: DataFrame, tasks: int) -> DataFrame:
    """one, other (one < other) and the number of users of each pair. Lazy."""
    ends = F.least("one", "other").alias("one"), F.greatest("one", "other").alias("other")
    # Most pairs have few users: counting them before the shuffle would take longer than it saves.
    shuffled = pairs.select(*ends).repartition(tasks, "one", "other")
    return shuffled.groupBy("one", "other").agg(F.count("*").alias(Columns.USERS))


def _closest(pairs: DataFrame, settings: CoWatchSettings) -> DataFrame:
    """Both directions of each pair, cut to each movie's `top`. Lazy."""
    shared = pairs.where(F.col(Columns.USERS) >= settings.min_users)
    directions = [
        F.struct(F.col(movie).alias(Columns.MOVIE_ID), F.col(other).alias(Columns.OTHER_MOVIE_ID), Columns.USERS)
        for movie, other in (("one", "other"), ("other", "one"))
    ]
    by_users = Window.partitionBy(Columns.MOVIE_ID).orderBy(F.col(Columns.USERS).desc(), Columns.OTHER_MOVIE_ID)
    ranked = shared.select(F.inline(F.array(*directions))).withColumn("rank", F.row_number().over(by_users))
    return ranked.where(F.col("rank") <= settings.top).drop("rank")
