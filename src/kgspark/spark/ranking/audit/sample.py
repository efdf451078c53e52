"""The rows of a few users, brought to the driver to be compared with the model."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.spark.frames import arrow_frame
from kgspark.spark.ranking.audit.counts import union
from kgspark.spark.ranking.candidates import Candidates
from kgspark.tables import POPULAR_SOURCES, Columns

TABLE = "table"


def collect_rows(tables: Mapping[str, DataFrame], users: pa.Array, most: int, seed: int) -> pa.Table:
    """Rows of ranked tables with any of `users` that no likes ranked: table, user_id, movie_id, score float32, source.

    most  largest number of rows per table; a user may be in millions of audiences, of which a seeded draw is taken
    """
    wanted = F.broadcast(arrow_frame(next(iter(tables.values())).sparkSession, pa.table({Columns.USER_ID: users})))
    draw = F.xxhash64(Columns.USER_ID, Columns.MOVIE_ID, F.lit(seed))
    parts = [
        rows.where(~F.col(Columns.SOURCE).isin(*POPULAR_SOURCES))
        .join(wanted, on=Columns.USER_ID, how="left_semi")
        .select(F.lit(name).alias(TABLE), Columns.USER_ID, Columns.MOVIE_ID, Columns.SCORE, Columns.SOURCE)
        .orderBy(draw)
        .limit(most)
        for name, rows in tables.items()
    ]
    return union(parts).toArrow()


def rows_of_queries(rows: DataFrame, column: str, ids: pa.Array) -> pa.Table:
    """The rows of a ranked table whose `column` is one of the few `ids`."""
    wanted = F.broadcast(arrow_frame(rows.sparkSession, pa.table({column: ids})))
    return rows.join(wanted, on=column, how="left_semi").toArrow()


def collect_likes(triples: DataFrame, relation: int, splits: Sequence[str], heads: pa.Array) -> pa.Table:
    """The triples of a relation and of some heads (indices) in `splits`: head, tail, weight, timestamp (0 for none)."""
    wanted = F.broadcast(arrow_frame(triples.sparkSession, pa.table({Columns.HEAD: heads})))
    has_times = Columns.TIMESTAMP in triples.columns
    time = F.coalesce(F.col(Columns.TIMESTAMP), F.lit(0)) if has_times else F.lit(0).cast("bigint")
    chosen = triples.where((F.col(Columns.RELATION) == relation) & F.col(Columns.SPLIT).isin(*splits))
    return (
        chosen.join(wanted, on=Columns.HEAD, how="left_semi")
        .select(Columns.HEAD, Columns.TAIL, Columns.WEIGHT, time.alias(Columns.TIMESTAMP))
        .toArrow()
    )


def collect_allowed(pairs: pa.Table, seen: DataFrame, candidates: Candidates | None) -> pa.Table:
    """The rows of the few `pairs` (user_id, movie_id, ...) that a list may have: unseen, and offered to the user."""
    names = [Columns.USER_ID, Columns.MOVIE_ID]
    asked = arrow_frame(seen.sparkSession, pairs)
    seen_of_them = seen.join(F.broadcast(asked.select(*names)), on=names, how="left_semi").select(*names)
    unseen = asked.join(F.broadcast(seen_of_them), on=names, how="left_anti")
    return (unseen if candidates is None else candidates.allowed(unseen)).toArrow()
