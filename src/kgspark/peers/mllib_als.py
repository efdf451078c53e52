"""ALS of Spark MLlib, in the way a data engineer would use it for the same nightly table."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from kgspark.peers.baselines import Likes
from kgspark.search_space import SearchSpace


def fit_likes(likes: Likes) -> SearchSpace:
    """The baseline mllib-als, with `evaluate.peers.mllib_als`."""
    settings, by_user = likes.settings.mllib_als, likes.by_user
    columns = {"user": by_user.rows().astype(np.int32), "item": np.asarray(by_user.indices).astype(np.int32)}
    model = fit(
        likes.session().createDataFrame(pa.table(columns)),
        rank=settings.factors,
        iterations=settings.iterations,
        alpha=settings.alpha,
        regularization=settings.regularization,
        seed=likes.seed,
    )
    return search_space(model, len(by_user), likes.movies)


def read_movielens(session: SparkSession, path: Path, separator: str, header: bool) -> DataFrame:
    """user, item int, rating double of a MovieLens ratings file, without any of our checks."""
    lines = session.read.csv(
        str(path), sep=separator, header=header, schema="user int, item int, rating double, t long"
    )
    return lines.select("user", "item", "rating")


def fit(
    likes: DataFrame, *, rank: int, iterations: int, alpha: float, regularization: float = 0.1, seed: int
) -> ALSModel:
    """Implicit-preference ALS on the columns user and item (int)."""
    als = ALS(
        rank=rank,
        maxIter=iterations,
        implicitPrefs=True,
        alpha=alpha,
        regParam=regularization,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
        seed=seed,
    )
    return als.fit(likes.select("user", "item", F.lit(1.0).alias("rating")))


def top_unseen(model: ALSModel, ratings: DataFrame, k: int) -> DataFrame:
    """user, rank, item, score: the top k that the user has not rated, from `recommendForAllUsers`. Runs a Spark job.

    MLlib cannot leave out rated items, so the job ranks k items plus the length of the longest history, for every user.
    """
    longest = ratings.groupBy("user").count().agg(F.max("count")).collect()[0][0]
    lists = model.recommendForAllUsers(k + longest).select("user", F.explode("recommendations").alias("row"))
    rows = lists.select("user", F.col("row.item").alias("item"), F.col("row.rating").alias("score"))
    unseen = rows.join(ratings.select("user", "item"), on=["user", "item"], how="left_anti")
    ranked = unseen.withColumn("rank", F.row_number().over(Window.partitionBy("user").orderBy(F.col("score").desc())))
    return ranked.where(F.col("rank") <= k).select("user", "rank", "item", "score")


def search_space(model: ALSModel, users: int, items: int) -> SearchSpace:
    """The factors as vectors to rank with, zero for an unknown id; ids are positions in [0, users) and [0, items).

    Collects both tables of factors.
    """
    vectors = []
    for factors, count in ((model.userFactors, users), (model.itemFactors, items)):
        rows = factors.collect()
        dense = np.zeros((count, model.rank), np.float32)
        dense[[row["id"] for row in rows]] = [row["features"] for row in rows]
        vectors.append(dense)
    return SearchSpace.learned(vectors[0], vectors[1], "inner_product")


def from_factors(session: SparkSession, users: np.ndarray, items: np.ndarray, partitions: int) -> ALSModel:
    """MLlib's model with the given factors float32 (U, d) and (N, d), as if it had been fitted; both are cached."""
    frames = []
    for vectors in (users, items):
        rows = pa.table({"id": pa.array(np.arange(len(vectors), dtype=np.int32)), "features": _lists(vectors)})
        frame = session.createDataFrame(rows).repartition(partitions).cache()
        frame.count()
        frames.append(frame)
    jvm = session._jvm
    assert jvm is not None
    built = jvm.org.apache.spark.ml.recommendation.ALSModel("als", users.shape[1], frames[0]._jdf, frames[1]._jdf)
    return ALSModel(built.setUserCol("user").setItemCol("item"))


def _lists(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]).cast(pa.list_(pa.float32()))
