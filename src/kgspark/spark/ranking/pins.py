"""Pinned movies: those that come first in the lists of a segment's users."""

from collections.abc import Callable
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kgspark.spark.ranking.settings import REST, CandidateSettings
from kgspark.tables import Columns


def with_pins(
    in_segments: DataFrame, settings: CandidateSettings, listed: Callable[[str, str], DataFrame]
) -> DataFrame:
    """The offered movies of each segment with `place`: from 1 for the pinned ones of the segment, null else. Lazy.

    listed  (key, table) -> the rows of a table of movie ids

    A segment's own pinned movies come before those of everybody. In a table, the column `place` gives the order, and
    then the id. A pinned movie that is not offered to the segment is left out.
    """
    parts = []
    of_all = [("pinned", settings.pinned)]
    for segment in [*settings.segments, REST]:
        own = [] if segment == REST else [(f"segments.{segment}.pinned", settings.segments[segment].pinned)]
        for number, (key, name) in enumerate([*own, *of_all]):
            if name is not None:
                rows = listed(key, name)
                place = F.col(Columns.PLACE).try_cast("double") if Columns.PLACE in rows.columns else F.lit(None)
                order = F.struct(F.lit(number), F.coalesce(place.cast("double"), F.lit(float("inf"))))
                parts.append(rows.select(Columns.MOVIE_ID, F.lit(segment).alias(Columns.SEGMENT), order.alias("order")))
    pins = (
        reduce(DataFrame.unionAll, parts).groupBy(Columns.MOVIE_ID, Columns.SEGMENT).agg(F.min("order").alias("order"))
    )
    offered = pins.join(in_segments, on=[Columns.MOVIE_ID, Columns.SEGMENT], how="left_semi")
    in_order = Window.partitionBy(Columns.SEGMENT).orderBy("order", Columns.MOVIE_ID)
    placed = offered.withColumn(Columns.PLACE, F.row_number().over(in_order)).drop("order")
    found = in_segments.join(placed, on=[Columns.MOVIE_ID, Columns.SEGMENT], how="left")
    return found.select(*in_segments.columns, Columns.PLACE)
