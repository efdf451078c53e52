"""Which ratings are held out: the same ones for any partitioning, row order, or number of nights."""

import math

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.graph.relations import AGE_DAYS
from kgspark.spark.settings import SplitSettings
from kgspark.tables import TEST, TRAIN, VALID

_SECONDS_A_DAY = 86_400


def with_split(ratings: DataFrame, settings: SplitSettings, target_where: str | None) -> DataFrame:
    """Adds `split` to the ratings. Only rows that meet `target_where` (the likes) are evaluated.

    random         a hash of (seed, user, movie) decides, so a pair keeps its split from night to night; ratings that
                   are no likes go by the same hash, so that nothing is learned from a held-out pair
    leave-one-out  a user's latest like is test, the one before validation, if three or more are there
    per-user       ⌊n/10⌋ likes of each user are test, ⌊n/10⌋ validation, by the hash's order (RecBole's 8:1:1)
    time           the latest share of likes, by one global boundary; later ratings that are no likes go with them
    cold-users     all likes of a share of the users are test; what else they rated is for training, as it is of them
                   that a user without likes is known by
    cold-movies    all ratings of a share of the movies are test
    none           everything is for training

    Ratings that have a column `split` already keep it; of their train rows the share `valid` is for validation.
    """
    is_like = F.lit(True) if target_where is None else F.coalesce(F.expr(target_where), F.lit(False))
    if "split" in ratings.columns:
        validates = (F.col("split") == TRAIN) & (_uniform(settings.seed) < settings.valid)
        return ratings.withColumn("split", F.when(validates, VALID).otherwise(F.col("split")))
    if settings.protocol == "none":
        return ratings.withColumn("split", F.lit(TRAIN))
    if settings.protocol == "random":
        return ratings.withColumn("split", _by_share(_uniform(settings.seed), settings))
    if settings.protocol == "time":
        return _by_time(ratings, settings, is_like)
    if settings.protocol in ("cold-users", "cold-movies"):
        return ratings.withColumn("split", _by_entity(settings, is_like))
    return _by_user(ratings.withColumn("is_like", is_like), settings).drop("is_like")


def with_age(ratings: DataFrame) -> DataFrame:
    """Adds `age_days`, double: how long before the latest training rating each one was given, 0 for later ones.

    ratings  with their split: the future of a split by time must not date its past
    """
    latest = ratings.where(F.col("split") == TRAIN).agg(F.max("timestamp")).collect()[0][0]
    age = (F.lit(latest).cast("bigint") - F.col("timestamp")) / float(_SECONDS_A_DAY)
    return ratings.withColumn(AGE_DAYS, F.greatest(age, F.lit(0.0)))


def _uniform(seed: int, *columns: str) -> Column:
    """A number in [0, 1) that only the pair (or the given columns) and the seed determine."""
    bits = F.pmod(F.xxhash64(F.lit(seed), *(columns or ("user_id", "movie_id"))), F.lit(1 << 52))
    return bits / float(1 << 52)


def _by_share(uniform: Column, settings: SplitSettings) -> Column:
    valid_until = settings.test + (1 - settings.test) * settings.valid
    return F.when(uniform < settings.test, TEST).when(uniform < valid_until, VALID).otherwise(TRAIN)


def _by_entity(settings: SplitSettings, is_like: Column) -> Column:
    validates = F.when(is_like & (_uniform(settings.seed) < settings.valid), VALID).otherwise(TRAIN)
    if settings.protocol == "cold-movies":
        return F.when(_uniform(settings.seed, "movie_id") < settings.test, TEST).otherwise(validates)
    cold = _uniform(settings.seed, "user_id") < settings.test
    return F.when(cold & is_like, TEST).when(cold, TRAIN).otherwise(validates)


def _by_user(ratings: DataFrame, settings: SplitSettings) -> DataFrame:
    if settings.protocol == "leave-one-out":
        order = [F.col("timestamp").desc(), F.col("movie_id").desc()]
    else:
        order = [_uniform(settings.seed).asc(), F.col("movie_id").asc()]
    of_user = Window.partitionBy("user_id", "is_like")
    ranked = ratings.withColumn("place", F.row_number().over(of_user.orderBy(*order)))
    ranked = ranked.withColumn("likes", F.count("*").over(of_user))
    if settings.protocol == "leave-one-out":
        part = F.when(F.col("likes") >= 3, F.lit(1)).otherwise(F.lit(0))
    else:
        part = F.floor(F.col("likes") / 10)
    split = (
        F.when(~F.col("is_like"), TRAIN)
        .when(F.col("place") <= part, TEST)
        .when(F.col("place") <= 2 * part, VALID)
        .otherwise(TRAIN)
    )
    return ranked.withColumn("split", split).drop("place", "likes")


def _by_time(ratings: DataFrame, settings: SplitSettings, is_like: Column) -> DataFrame:
    likes = ratings.where(is_like)
    test_from = time_of_latest_share(likes, settings.test)
    earlier = likes.where(F.col("timestamp") < test_from)
    valid_from = time_of_latest_share(earlier, settings.valid)
    split = F.when(F.col("timestamp") >= test_from, TEST).when(F.col("timestamp") >= valid_from, VALID).otherwise(TRAIN)
    return ratings.withColumn("split", split)


def time_of_latest_share(rows: DataFrame, share: float) -> int:
    """The latest second from which at least `share` of the rows lie, exactly, by histograms of days and of seconds.

    Rows of one second stay together, as in RePlay's split by time; a share of 0 gives a second after all of them. Only
    as many values as there are days, then as there are seconds in one day, reach the driver.
    """
    day = F.floor(F.col("timestamp") / _SECONDS_A_DAY)
    days = {row["day"]: row["count"] for row in rows.groupBy(day.alias("day")).count().collect()}
    needed = math.ceil(round(share * sum(days.values()), 6))  # 0.15 · 100 is a little more than 15 to a float
    if not needed:
        return (max(days, default=0) + 1) * _SECONDS_A_DAY
    boundary, later = _reached(days, needed)
    inside = rows.where(day == boundary).groupBy("timestamp").count().collect()
    return _reached({row["timestamp"]: row["count"] for row in inside}, needed - later)[0]


def _reached(counts: dict[int, int], needed: int) -> tuple[int, int]:
    """The latest value at which `needed` rows have been counted from the end, and the rows after it."""
    later = 0
    for value in sorted(counts, reverse=True):
        if later + counts[value] >= needed:
            return value, later
        later += counts[value]
    raise ValueError(f"{needed} rows are more than the {later} that there are")
