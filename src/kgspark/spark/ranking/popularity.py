"""Likes by segment and movie: what is popular, for the users whom the model cannot rank for."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.spark.ranking.settings import REST
from kgspark.tables import Columns


def likes_by_segment(
    triples: DataFrame, target: Relation, splits: Sequence[str], layout: EntityLayout, segments: DataFrame | None
) -> DataFrame:
    """The number of likes in `splits` of each movie, by the segment of the user: segment, position, likes. Lazy.

    target    the relation of likes
    segments  the segment of each user (position, segment); None if all users are in the segment `REST`
    """
    first_user, first_movie = (layout.range(kind)[0] for kind in (target.head_kind, target.tail_kind))
    chosen = triples.where((F.col(Columns.RELATION) == target.index) & F.col(Columns.SPLIT).isin(*splits))
    likes = chosen.select(
        (F.col(Columns.HEAD) - first_user).alias("user"), (F.col(Columns.TAIL) - first_movie).alias(Columns.POSITION)
    )
    if segments is None:
        placed = likes.withColumn(Columns.SEGMENT, F.lit(REST))
    else:
        of_users = segments.select(F.col(Columns.POSITION).alias("user"), Columns.SEGMENT)
        placed = likes.join(of_users, on="user", how="inner")
    return placed.groupBy(Columns.SEGMENT, Columns.POSITION).agg(F.count("*").alias(Columns.LIKES))
