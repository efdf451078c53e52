"""Compares the ratings of a night with those of the night before: a delivery that is far smaller is incomplete."""

from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.names import OURS, Names
from kgspark.runs import Run
from kgspark.spark.frames import read_table
from kgspark.tables import RATINGS, Columns


def last_night(run: Run, intact: str = "") -> Run | None:
    """The newest night of an earlier date in the lake whose ratings are complete and undamaged; None if there is none.

    intact  the date of a night whose checksums were compared already
    """
    for night in run.earlier():
        manifest = night.find_manifest(RATINGS)
        if manifest is not None and (night.date == intact or not replace(night, verify="full").find_damage(manifest)):
            return night
    return None


def check_size(
    session: SparkSession, path: str, rows: int, folder: Path, last: Run, least: float, names: Names = OURS
) -> None:
    """InputError if this night has less than `least` times the ratings, users or movies of the last night.

    path    the source, for the message
    rows    number of ratings in `folder`, the clean table of this night
    Runs one Spark job per night if the rows suffice; it counts users and movies, within some 2 %.
    """
    _check(path, "ratings", rows, last.manifest(RATINGS).rows, last, least)
    now, before = (_count_ids(session, table) for table in (folder, last.place(RATINGS)))
    for column, what in ((Columns.USER_ID, names.users), (Columns.MOVIE_ID, names.movies)):
        _check(path, what, now[column], before[column], last, least)


def _check(path: str, what: str, now: int, before: int, last: Run, least: float) -> None:
    if now < least * before:
        raise InputError(
            f"{path}: {now:,} {what} are left after cleaning, {now / before:.1%} of the {before:,} of {last.date}, and "
            f"clean.min_share_of_last_night asks for {least:.1%}; deliver the whole source, or lower the share once"
        )


def _count_ids(session: SparkSession, folder: Path) -> dict[str, int]:
    ids = (Columns.USER_ID, Columns.MOVIE_ID)
    counts = read_table(session, folder).agg(*[F.approx_count_distinct(name, 0.02).alias(name) for name in ids])
    return counts.collect()[0].asDict()
