"""Pairs that were seen although no rating of them was kept: each line of theirs has a bad rating or a bad time."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.files import TableFiles
from kgspark.ranking_schemas import ID_TYPES
from kgspark.spark.frames import read_table, write_empty, write_table
from kgspark.tables import MOVIES, RATINGS, SEEN, USERS, Columns

_PAIR = (Columns.USER_ID, Columns.MOVIE_ID)


def write_seen(checked: DataFrame, reasons: Collection[str], id_type: str, folders: Mapping[str, Path]) -> TableFiles:
    """Writes the table `seen` (user_id, movie_id) to its new folder.

    checked  the lines of the ratings, with typed ids and the `reason` to refuse them (null if they are good)
    reasons  the reasons with which a line still says that the user has seen the movie
    folders  the folders of the clean tables, of which ratings, movies and users are written

    It has each pair once, and no pair of the ratings. Its users and movies are entities: they have a good rating of
    another pair, or stand in their own table. Others get no list, and stand in none.
    """
    session, folder = checked.sparkSession, folders[SEEN]
    if not reasons:
        return write_empty(pa.schema([(name, ID_TYPES[id_type]) for name in _PAIR]), folder)
    # Written first, so that Spark knows how few they are: then it sends them to the ratings, and not the other way.
    refused = folder.with_name("refused_pairs")
    lines = checked.where(~F.col("header") & F.col("reason").isin(*reasons))
    write_table(lines.select(*_PAIR).distinct(), refused)
    pairs = read_table(session, refused)
    ratings = read_table(session, folders[RATINGS])
    of_users = ratings.join(pairs.select(Columns.USER_ID).distinct(), on=Columns.USER_ID, how="left_semi")
    of_movies = ratings.join(pairs.select(Columns.MOVIE_ID).distinct(), on=Columns.MOVIE_ID, how="left_semi")
    users = _known(session, of_users, Columns.USER_ID, folders.get(USERS))
    movies = _known(session, of_movies, Columns.MOVIE_ID, folders.get(MOVIES))
    entities = pairs.join(users, on=Columns.USER_ID, how="left_semi").join(movies, on=Columns.MOVIE_ID, how="left_semi")
    unrated = entities.join(of_users, on=list(_PAIR), how="left_anti").select(*_PAIR)
    files = write_table(unrated, folder)
    shutil.rmtree(refused)
    return files


def _known(session: SparkSession, ratings: DataFrame, key: str, own_table: Path | None) -> DataFrame:
    """The ids of `ratings` and of the kind's own table, if there is one."""
    rated = ratings.select(key)
    return rated if own_table is None else rated.unionAll(read_table(session, own_table).select(key))
