"""What was known before a date, what was liked from then on, and where it stood in the lists of that date."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.tables import Columns

SECONDS_PER_DAY = 86_400
# Columns of the two tables. `user` and `movie` are positions inside their kinds; null for a new one.
USER, MOVIE, DAY = "user", "movie", "day"


@dataclass(frozen=True)
class Span:
    """The times of all ratings, and the likes around each date.

    first, last  seconds since 1970, with or without fraction
    before       likes before each date
    after        likes in the days from each date on
    """

    first: float
    last: float
    before: tuple[int, ...]
    after: tuple[int, ...]


def known_before(table: DataFrame, start: int) -> DataFrame:
    """The rows of a table that are earlier than the second `start`. Lazy."""
    return table.where(F.col(Columns.TIMESTAMP) < start)


def liked_ratings(ratings: DataFrame, where: str | None) -> DataFrame:
    """The ratings that fulfil the target's condition. Lazy."""
    return ratings if where is None else ratings.where(F.expr(where))


def collect_span(ratings: DataFrame, where: str | None, starts: Sequence[int], days: int) -> Span:
    """The times of the ratings, and the number of likes before each of the seconds `starts` and in the `days` after."""
    time, is_like = F.col(Columns.TIMESTAMP), F.lit(True) if where is None else F.expr(where)
    counts = [
        F.count_if(is_like & condition)
        for start in starts
        for condition in (time < start, (time >= start) & (time < start + days * SECONDS_PER_DAY))
    ]
    first, last, *counted = ratings.agg(F.min(time), F.max(time), *counts).collect()[0]
    return Span(first, last, tuple(counted[::2]), tuple(counted[1::2]))


def find_latest(tables: Sequence[DataFrame]) -> int | None:
    """The latest time in any of the tables; None without a time. Runs a Spark job."""
    times = reduce(DataFrame.unionByName, [table.select(Columns.TIMESTAMP) for table in tables])
    latest: int | None = times.agg(F.max(Columns.TIMESTAMP)).collect()[0][0]
    return latest


def likes_from(
    likes: DataFrame, start: int, days: int, users: DataFrame, movies: DataFrame, lists: DataFrame
) -> DataFrame:
    """The likes of the `days` from the second `start` on: user_id, movie_id, user, movie, day, rank. Lazy.

    users, movies  maps from id to `position`, of those that the night knows
    lists          the night's lists (user_id, movie_id, rank)

    `day` is 1 for the first day; `rank` is null for a movie that is not in the user's list.
    """
    time = F.col(Columns.TIMESTAMP)
    later = likes.where((time >= start) & (time < start + days * SECONDS_PER_DAY))
    day = (F.floor((time - start) / SECONDS_PER_DAY) + 1).cast("int").alias(DAY)
    later = later.select(Columns.USER_ID, Columns.MOVIE_ID, day)
    later = later.join(users.withColumnRenamed(Columns.POSITION, USER), on=Columns.USER_ID, how="left")
    later = later.join(movies.withColumnRenamed(Columns.POSITION, MOVIE), on=Columns.MOVIE_ID, how="left")
    ranks = lists.select(Columns.USER_ID, Columns.MOVIE_ID, Columns.RANK)
    later = later.join(ranks, on=[Columns.USER_ID, Columns.MOVIE_ID], how="left")
    columns = (Columns.USER_ID, Columns.MOVIE_ID, USER, MOVIE, DAY, Columns.RANK)
    return later.select(*columns).orderBy(Columns.USER_ID, Columns.MOVIE_ID)


def seen_by(later: DataFrame, seen: DataFrame, users: DataFrame, movies: DataFrame) -> DataFrame:
    """The seen pairs of the users in `later` whom the night knows: user, movie, sorted. Lazy.

    seen  pairs user_id, movie_id that no list may repeat
    """
    asked = later.where(F.col(USER).isNotNull()).select(Columns.USER_ID).distinct()
    pairs = seen.select(Columns.USER_ID, Columns.MOVIE_ID).join(asked, on=Columns.USER_ID, how="left_semi")
    pairs = pairs.join(users.withColumnRenamed(Columns.POSITION, USER), on=Columns.USER_ID, how="inner")
    pairs = pairs.join(movies.withColumnRenamed(Columns.POSITION, MOVIE), on=Columns.MOVIE_ID, how="inner")
    return pairs.select(USER, MOVIE).orderBy(USER, MOVIE)
