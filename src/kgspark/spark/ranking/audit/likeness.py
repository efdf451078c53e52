"""Counts per list of the table of similar movies, whose queries have seen nothing but themselves."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.spark.ranking.candidates import Candidates
from kgspark.tables import Columns


def own_counts(known: DataFrame, candidates: Candidates | None) -> list[DataFrame]:
    """Per query of `known` (number, query): `history`, itself if it is offered, and `offered`, a number of movies."""
    if candidates is None:
        return [known.withColumn("history", F.lit(1))]
    offered = _offered(candidates)
    counted = offered.agg(F.count("*")).scalar()
    return [
        known.join(offered.withColumnRenamed("item", "query"), on="query", how="left_semi").withColumn(
            "history", F.lit(1)
        ),
        known.withColumn("offered", counted),
    ]


def listed_themselves(numbers: Sequence[int], listed: DataFrame) -> DataFrame:
    """Per query: the rows in which it is its own item, as `seen`."""
    wrong = listed.where(F.col("number").isin(*numbers) & (F.col("query") == F.col("item")))
    return wrong.groupBy("number", "query").agg(F.count("*").alias("seen"))


def not_offered_counts(numbers: Sequence[int], listed: DataFrame, candidates: Candidates) -> DataFrame:
    """Per query: the rows whose movie no segment is offered."""
    wrong = listed.where(F.col("number").isin(*numbers)).join(_offered(candidates), on="item", how="left_anti")
    return wrong.groupBy("number", "query").agg(F.count("*").alias("not_offered"))


def _offered(candidates: Candidates) -> DataFrame:
    return candidates.movies.select(F.col(Columns.MOVIE_ID).alias("item")).distinct()


def ranks_others(numbers: Sequence[int]) -> Column:
    """True for the rows of the tables but those `numbers`."""
    return ~F.col("number").isin(*numbers) if numbers else F.lit(True)
