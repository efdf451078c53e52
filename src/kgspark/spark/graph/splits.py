"""The split of the ratings: the same one for any partitioning, order of rows, or number of nights."""

import math

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.graph.settings import SplitSettings
from kgspark.tables import TEST, TRAIN, VALID, Columns

_SECONDS_PER_DAY = 86_400


def with_split(ratings: DataFrame, settings: SplitSettings, target_where: str | None) -> DataFrame:
    """Adds `split` to the ratings. Only rows that fulfil `target_where` (the likes) are evaluated.

    Lazy, except for the split by time, whose boundaries `collect_time_boundaries` computes with Spark jobs.

    random         a hash of (seed, user, movie) decides, so a pair keeps its split from night to night; other ratings
                   go by the same hash, so that nothing is learned from a held-out pair
    leave-one-out  a user's latest like is test, the one before validation, if there are three or more
    per-user       ⌊n/10⌋ likes of each user are test, ⌊n/10⌋ validation, by the hash's order (RecBole's 8:1:1)
    time           the latest fraction of likes, by one global boundary; all later ratings are held out with them
    cold-users     all likes of a fraction of the users are test; their other ratings are for training, because they
                   are all that is known of a user without likes
    cold-movies    all ratings of a fraction of the movies are test
    none           everything is for training

    If the ratings already have a column `split`, they keep it; the fraction `valid` of their train rows is for
    validation.
    """
    is_like = F.lit(True) if target_where is None else F.coalesce(F.expr(target_where), F.lit(False))
    if settings.protocol in ("leave-one-out", "per-user") and Columns.SPLIT not in ratings.columns:
        return _split_by_user(ratings.withColumn("is_like", is_like), settings).drop("is_like")
    return ratings.withColumn(Columns.SPLIT, _split(ratings, settings, is_like))


def _split(ratings: DataFrame, settings: SplitSettings, is_like: Column) -> Column:
    """The split of a rating, from its columns alone."""
    if Columns.SPLIT in ratings.columns:
        given = F.col(Columns.SPLIT)
        return F.when((given == TRAIN) & (_uniform(settings.seed) < settings.valid), VALID).otherwise(given)
    if settings.protocol == "none":
        return F.lit(TRAIN)
    if settings.protocol == "random":
        return _by_fraction(_uniform(settings.seed), settings)
    if settings.protocol == "time":
        return _by_time(*collect_time_boundaries(ratings.where(is_like), settings))
    return _by_entity(settings, is_like)


def with_age(ratings: DataFrame) -> DataFrame:
    """Adds `age_days`, double: time between each rating and the latest training rating, 0 for later ones. Lazy.

    The latest time is a subquery: it costs nothing unless some expression reads the column.

    ratings  with their split: ages in a split by time must not depend on its later, held-out ratings
    """
    training = ratings.where(F.col(Columns.SPLIT) == TRAIN)
    latest = training.agg(F.max(Columns.TIMESTAMP)).scalar()
    age = (latest - F.col(Columns.TIMESTAMP)) / float(_SECONDS_PER_DAY)
    return ratings.withColumn(Columns.AGE_DAYS, F.greatest(age, F.lit(0.0)))


def _uniform(seed: int, *columns: str) -> Column:
    """A number in [0, 1) that depends only on the seed and on the pair (or the given columns)."""
    bits = F.pmod(F.xxhash64(F.lit(seed), *(columns or (Columns.USER_ID, Columns.MOVIE_ID))), F.lit(1 << 52))
    return bits / float(1 << 52)


def _by_fraction(uniform: Column, settings: SplitSettings) -> Column:
    valid_until = settings.test + (1 - settings.test) * settings.valid
    return F.when(uniform < settings.test, TEST).when(uniform < valid_until, VALID).otherwise(TRAIN)


def _by_entity(settings: SplitSettings, is_like: Column) -> Column:
    validates = F.when(is_like & (_uniform(settings.seed) < settings.valid), VALID).otherwise(TRAIN)
    if settings.protocol == "cold-movies":
        return F.when(_uniform(settings.seed, Columns.MOVIE_ID) < settings.test, TEST).otherwise(validates)
    cold = _uniform(settings.seed, Columns.USER_ID) < settings.test
    return F.when(cold & is_like, TEST).when(cold, TRAIN).otherwise(validates)


def _split_by_user(ratings: DataFrame, settings: SplitSettings) -> DataFrame:
    if settings.protocol == "leave-one-out":
        order = [F.col(Columns.TIMESTAMP).desc(), F.col(Columns.MOVIE_ID).desc()]
    else:
        order = [_uniform(settings.seed).asc(), F.col(Columns.MOVIE_ID).asc()]
    of_user = Window.partitionBy(Columns.USER_ID, "is_like")
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
    return ranked.withColumn(Columns.SPLIT, split).drop("place", "likes")


def _by_time(test_from: int, valid_from: int) -> Column:
    timestamp = F.col(Columns.TIMESTAMP)
    return F.when(timestamp >= test_from, TEST).when(timestamp >= valid_from, VALID).otherwise(TRAIN)


def collect_time_boundaries(likes: DataFrame, settings: SplitSettings) -> tuple[int, int]:
    """The first seconds of test (the latest likes) and of validation (the latest likes before the test)."""
    test_from = collect_boundary(likes, settings.test)
    return test_from, collect_boundary(likes.where(F.col(Columns.TIMESTAMP) < test_from), settings.valid)


def collect_boundary(rows: DataFrame, fraction: float) -> int:
    """The latest second s such that at least `fraction` of the rows are at s or later; exact, by two histograms.

    Rows of the same second stay together, as in RePlay's split by time; a fraction of 0 gives a second after all rows.
    The driver gets one value per day, then one value per second of a single day.
    """
    day = F.floor(F.col(Columns.TIMESTAMP) / _SECONDS_PER_DAY)
    days = {row["day"]: row["count"] for row in rows.groupBy(day.alias("day")).count().collect()}
    needed = math.ceil(round(fraction * sum(days.values()), 6))  # as a float, 0.15 · 100 is a little more than 15
    if not needed:
        return (max(days, default=0) + 1) * _SECONDS_PER_DAY
    boundary, later = _find_boundary(days, needed)
    second = F.floor(Columns.TIMESTAMP)
    seconds = rows.where(day == boundary).groupBy(second.alias("second")).count().collect()
    return _find_boundary({row["second"]: row["count"] for row in seconds}, needed - later)[0]


def _find_boundary(counts: dict[int, int], needed: int) -> tuple[int, int]:
    """The latest value at which `needed` rows have been counted from the end, and the number of rows after it."""
    later = 0
    for value in sorted(counts, reverse=True):
        if later + counts[value] >= needed:
            return value, later
        later += counts[value]
    raise ValueError(f"{needed} rows are more than the {later} that there are")
