"""Bulk ranking on executors: whole queries streamed through a ranking function, block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.entity_layout import EntityLayout
from kgspark.files import DataFile
from kgspark.spark.entities import index_of

# At least this many tasks, where there are queries enough, so that a small night uses more than one core.
_LEAST_TASKS = 16
_LEAST_QUERIES_A_TASK = 1024


@dataclass(frozen=True)
class Side:
    """Which kind asks and which is ranked: users ask for movies, or movies for an audience of users."""

    query_kind: str
    item_kind: str

    @property
    def query_column(self) -> str:
        """Id column of the asking kind."""
        return f"{self.query_kind}_id"

    @property
    def item_column(self) -> str:
        """Id column of the ranked kind."""
        return f"{self.item_kind}_id"


def query_stream(
    ratings: DataFrame, entities: DataFrame, layout: EntityLayout, side: Side, id_type: str, liked: str | None
) -> DataFrame:
    """Rows `index`, `query_id`, `seen`, `liked`: for every query a first row with its id, then one row a seen item.

    liked  SQL condition on the ratings: whether a seen item may serve as the reason of a recommended one
    Positions count from 0 inside their kind. Every query has its first row, whether or not it has seen anything.
    """
    query_start, _ = layout.range(side.query_kind)
    item_start, _ = layout.range(side.item_kind)
    asking = index_of(entities, side.query_kind, id_type, side.query_column, "query_index")
    ranked = index_of(entities, side.item_kind, id_type, side.item_column, "item_index")
    first = asking.select(
        (F.col("query_index") - query_start).alias("index"),
        F.col(side.query_column).alias("query_id"),
        F.lit(None).cast("bigint").alias("seen"),
        F.lit(None).cast("boolean").alias("liked"),
    )
    is_liked = F.lit(None).cast("boolean") if liked is None else F.expr(liked)
    pairs = ratings.select(side.query_column, side.item_column, is_liked.alias("liked"))
    pairs = pairs.join(asking, on=side.query_column, how="inner").join(ranked, on=side.item_column, how="inner")
    seen = pairs.select(
        (F.col("query_index") - query_start).alias("index"),
        F.lit(None).cast(id_type).alias("query_id"),
        (F.col("item_index") - item_start).alias("seen"),
        "liked",
    )
    return first.unionByName(seen)


def queries_a_task(queries: int, rows_a_query: int, rows_per_file: int) -> int:
    """Queries that one task ranks and one file holds, as a function of the sizes alone.

    Nothing of the machine enters, so the files are the same on a laptop and on a cluster.
    """
    fitting = max(1, rows_per_file // max(1, rows_a_query))
    spread = max(_LEAST_QUERIES_A_TASK, -(-queries // _LEAST_TASKS))
    return min(fitting, spread)


def write_on_executors(
    stream: DataFrame,
    write: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    queries: int,
    per_task: int,
) -> list[DataFile]:
    """Sends the stream through `write`: task i gets the queries [i · per_task, (i + 1) · per_task), in order.

    write  ranks one task's queries into one file, and yields the file's name, bytes, sha256 and rows
    Only these descriptions, a row a file, come back to the driver.
    """
    tasks = max(1, -(-queries // per_task))
    placed = stream.repartitionById(tasks, F.floor(F.col("index") / per_task).cast("int"))
    ordered = placed.sortWithinPartitions(F.col("index"), F.col("seen").asc_nulls_first())
    written = ordered.mapInArrow(write, "name string, bytes bigint, sha256 string, rows bigint").collect()
    return sorted((DataFile(**row.asDict()) for row in written), key=lambda file: file.name)
