"""Pairs that were seen although no rating of them was kept: each line of theirs has a bad rating or a bad time."""

from collections.abc import Collection, Mapping
from functools import reduce
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.files import TableFiles
from kgspark.published_schemas import ID_TYPES
from kgspark.spark.frames import read_table, write_empty, write_table
from kgspark.tables import MOVIES, RATINGS, REFUSED_PAIRS, SEEN, USERS, Columns

_PAIR = (Columns.USER_ID, Columns.MOVIE_ID)


def write_seen(
    session: SparkSession,
    checked: DataFrame | None,
    earlier: DataFrame | None,
    reasons: Collection[str],
    id_type: str,
    folders: Mapping[str, Path],
) -> dict[str, TableFiles]:
    """Writes the tables `refused_pairs` and `seen` (user_id, movie_id) to their new folders.

    checked  the lines of the ratings, with typed ids and the `reason` to refuse them (null if they are good), or None
    earlier  the table `refused_pairs` of the night that these lines are added to, or None
    reasons  the reasons with which a line still says that the user has seen the movie
    folders  the folders of the clean tables, of which ratings, movies and users are written

    `refused_pairs` has each pair of a refused line once. `seen` has those that are no pair of the ratings, and whose
    user and movie are entities: they have a good rating of another pair, or stand in their own table. Others get no
    list, and stand in none; but a later night may know them.
    """
    if not reasons:
        schema = pa.schema([(name, ID_TYPES[id_type]) for name in _PAIR])
        return {name: write_empty(schema, folders[name]) for name in (REFUSED_PAIRS, SEEN)}
    refused = [] if earlier is None else [earlier]
    if checked is not None:
        refused.append(checked.where(~F.col("header") & F.col("reason").isin(*reasons)).select(*_PAIR))
    pairs_files = write_table(reduce(DataFrame.unionByName, refused).distinct(), folders[REFUSED_PAIRS])
    # Read again, so that Spark knows how few they are: then it sends them to the ratings, and not the other way.
    pairs = read_table(session, folders[REFUSED_PAIRS])
    ratings = read_table(session, folders[RATINGS])
    of_users = ratings.join(pairs.select(Columns.USER_ID).distinct(), on=Columns.USER_ID, how="left_semi")
    of_movies = ratings.join(pairs.select(Columns.MOVIE_ID).distinct(), on=Columns.MOVIE_ID, how="left_semi")
    users = _known(session, of_users, Columns.USER_ID, folders.get(USERS))
    movies = _known(session, of_movies, Columns.MOVIE_ID, folders.get(MOVIES))
    entities = pairs.join(users, on=Columns.USER_ID, how="left_semi").join(movies, on=Columns.MOVIE_ID, how="left_semi")
    unrated = entities.join(of_users, on=list(_PAIR), how="left_anti").select(*_PAIR)
    return {REFUSED_PAIRS: pairs_files, SEEN: write_table(unrated, folders[SEEN])}


def _known(session: SparkSession, ratings: DataFrame, key: str, own_table: Path | None) -> DataFrame:
    """The ids of `ratings` and of the kind's own table, if there is one."""
    rated = ratings.select(key)
    return rated if own_table is None else rated.unionAll(read_table(session, own_table).select(key))
