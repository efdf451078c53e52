"""Bulk ranking on executors: whole queries streamed through a ranking function, block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import accumulate, chain

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.files import DataFile
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.spark.graph.entities import index_of

# At least this many tasks, where there are queries enough, so that a small night uses more than one core.
_LEAST_TASKS = 16
_LEAST_QUERIES_A_TASK = 1024
_DESCRIPTION = "name string, sha256 string, bytes bigint, rows bigint, listed bigint, found bigint"


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
    ratings: DataFrame, entities: DataFrame, layout: EntityLayout, sides: Sequence[Side], id_type: str, liked: str
) -> DataFrame:
    """Rows `side`, `index`, `query_id`, `seen`, `liked`: a query's first row has its id, then comes one a seen item.

    side   position in `sides`; index and seen count from 0 inside their kind
    liked  SQL condition on the ratings: whether a seen item may serve as the reason of a recommended one
    Every query has its first row, whether or not it has seen anything.
    """
    positions = {}
    for kind in (USER, MOVIE):
        known = index_of(entities, kind, id_type, f"{kind}_id", "index")
        positions[kind] = known.withColumn(kind, F.col("index") - layout.range(kind)[0]).drop("index")
    first = [
        positions[side.query_kind].select(
            F.lit(number).alias("side"),
            F.col(side.query_kind).alias("index"),
            F.col(side.query_column).alias("query_id"),
            F.lit(None).cast("bigint").alias("seen"),
            F.lit(None).cast("boolean").alias("liked"),
        )
        for number, side in enumerate(sides)
    ]
    pairs = ratings.select("user_id", "movie_id", F.expr(liked).alias("liked"))
    pairs = pairs.join(positions[USER], on="user_id").join(positions[MOVIE], on="movie_id")
    seen = [
        F.struct(
            F.lit(number).alias("side"),
            F.col(side.query_kind).alias("index"),
            F.lit(None).cast(id_type).alias("query_id"),
            F.col(side.item_kind).alias("seen"),
            "liked",
        )
        for number, side in enumerate(sides)
    ]
    # The joins are the work, so every pair is looked up once and then laid out for each side.
    return reduce(DataFrame.unionByName, [*first, pairs.select(F.inline(F.array(*seen)))])


def queries_a_task(queries: int, rows_a_query: int, rows_per_file: int) -> int:
    """Queries that one task ranks and one file holds, as a function of the sizes alone.

    Nothing of the machine enters, so the files are the same on a laptop and on a cluster.
    """
    fitting = max(1, rows_per_file // max(1, rows_a_query))
    spread = max(_LEAST_QUERIES_A_TASK, -(-queries // _LEAST_TASKS))
    return min(fitting, spread)


@dataclass(frozen=True)
class SideWriter:
    """How one side of a stream is cut into tasks, and what a task does with its part.

    queries   that there are; task i gets [i · per_task, (i + 1) · per_task), in order
    write     ranks one task's queries into one file, and yields the file's name, bytes, sha256 and rows, and how many
              rows of a sample's exact lists there are (listed) and were found
    """

    queries: int
    per_task: int
    write: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

    @property
    def tasks(self) -> int:
        """Tasks of this side, and files."""
        return max(1, -(-self.queries // self.per_task))


@dataclass
class WrittenSide:
    """The files of one side, in order; `listed` and `found` are sums over them (see `SideWriter.write`)."""

    files: list[DataFile] = field(default_factory=list)
    listed: int = 0
    found: int = 0


def write_on_executors(stream: DataFrame, writers: Sequence[SideWriter]) -> list[WrittenSide]:
    """Sends every side of the stream through its writer; returns what each side wrote.

    Only these descriptions, a row a file, come back to the driver.
    """
    before = list(accumulate((writer.tasks for writer in writers), initial=0))
    per_task = F.array(*[F.lit(writer.per_task) for writer in writers])
    task = F.array(*map(F.lit, before))[F.col("side")] + F.floor(F.col("index") / per_task[F.col("side")])
    placed = stream.repartitionById(before[-1], task.cast("int"))
    ordered = placed.sortWithinPartitions("index", F.col("seen").asc_nulls_first())
    write = partial(_write_side, writes=[writer.write for writer in writers])
    written = [WrittenSide() for _ in writers]
    for row in sorted(ordered.mapInArrow(write, f"side int, {_DESCRIPTION}").collect()):
        side = written[row["side"]]
        side.files.append(DataFile(row["name"], row["bytes"], row["sha256"], row["rows"]))
        side.listed += row["listed"]
        side.found += row["found"]
    return written


def _write_side(
    batches: Iterator[pa.RecordBatch], writes: Sequence[Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]]
) -> Iterator[pa.RecordBatch]:
    """Runs in a task, whose rows are all of one side."""
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None:
        return
    side = first["side"][0]
    for described in writes[side.as_py()](chain([first], batches)):
        columns = [pa.repeat(side, described.num_rows), *described.columns]
        yield pa.RecordBatch.from_arrays(columns, names=["side", *described.schema.names])
