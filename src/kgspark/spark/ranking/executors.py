"""Bulk ranking on executors: a ranking function reads a stream of whole queries, block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import accumulate, chain
from typing import Protocol

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from kgspark.files import DataFile
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.ranking_schemas import FILE_DESCRIPTION, QueryColumns, query_schema
from kgspark.spark.graph.entities import position_of
from kgspark.tables import Columns

# A small night gets at least this many tasks, to use more than one core, unless a task would have fewer queries than
# the second number.
_LEAST_TASKS = 16
_LEAST_QUERIES_PER_TASK = 1024


@dataclass(frozen=True)
class Direction:
    """The kind of the queries and the kind that is ranked: movies for users, users for movies (an audience), or movies
    for movies (similar ones)."""

    query_kind: str
    item_kind: str

    @property
    def query_column(self) -> str:
        """Id column of the queries' kind."""
        return f"{self.query_kind}_id"

    @property
    def item_column(self) -> str:
        """Id column of the ranked kind."""
        return Columns.SIMILAR if self.is_likeness else f"{self.item_kind}_id"

    @property
    def is_likeness(self) -> bool:
        """True if both kinds are the same. Then a query has seen itself, and nothing else."""
        return self.query_kind == self.item_kind


def query_stream(
    ratings: DataFrame,
    entities: DataFrame,
    layout: EntityLayout,
    directions: Sequence[Direction],
    id_type: str,
    liked: str,
) -> DataFrame:
    """The stream of queries, with the columns of `query_schema`; the column `direction` is an index into `directions`.

    ratings  the pairs that were seen; the rating is null if it was refused
    liked    SQL condition on the ratings: true if a seen item may be the reason of a recommendation

    Every user or movie that is a query has its header row, even if it has seen nothing.
    """
    known = {
        kind: position_of(entities, layout, kind, id_type).withColumnRenamed(Columns.POSITION, kind)
        for kind in (USER, MOVIE)
    }
    headers = [
        known[direction.query_kind].select(
            F.lit(number).alias(QueryColumns.DIRECTION),
            F.col(direction.query_kind).alias(QueryColumns.POSITION),
            F.col(direction.query_column).alias(QueryColumns.QUERY_ID),
            F.lit(None).cast("bigint").alias(QueryColumns.SEEN),
            F.lit(None).cast("boolean").alias(QueryColumns.LIKED),
        )
        for number, direction in enumerate(directions)
    ]
    is_liked = F.col(Columns.RATING).isNotNull() & F.expr(liked)
    pairs = ratings.select(Columns.USER_ID, Columns.MOVIE_ID, is_liked.alias(QueryColumns.LIKED))
    pairs = pairs.join(known[USER], on=Columns.USER_ID, how="inner")
    pairs = pairs.join(known[MOVIE], on=Columns.MOVIE_ID, how="inner")
    seen = [
        F.struct(
            F.lit(number).alias(QueryColumns.DIRECTION),
            F.col(direction.query_kind).alias(QueryColumns.POSITION),
            F.lit(None).cast(id_type).alias(QueryColumns.QUERY_ID),
            F.col(direction.item_kind).alias(QueryColumns.SEEN),
            QueryColumns.LIKED,
        )
        for number, direction in enumerate(directions)
        if not direction.is_likeness
    ]
    themselves = [
        header.withColumns(
            {
                QueryColumns.QUERY_ID: F.lit(None).cast(id_type),
                QueryColumns.SEEN: F.col(QueryColumns.POSITION),
                QueryColumns.LIKED: F.lit(False),
            }
        )
        for header, direction in zip(headers, directions, strict=True)
        if direction.is_likeness
    ]
    # The joins are the expensive part, so each pair is joined once and then repeated for each direction.
    stream = reduce(DataFrame.unionByName, [*headers, *themselves, pairs.select(F.inline(F.array(*seen)))])
    return stream.to(from_arrow_schema(query_schema(id_type)))


def queries_per_file(queries: int, rows_per_query: int, rows_per_file: int) -> int:
    """Number of queries that one task ranks into one file.

    It depends on the sizes alone and not on the machine, so the files are the same on a laptop and on a cluster.
    """
    fitting = max(1, rows_per_file // max(1, rows_per_query))
    spread = max(_LEAST_QUERIES_PER_TASK, -(-queries // _LEAST_TASKS))
    return min(fitting, spread)


class RankingFunction(Protocol):
    """Ranks the queries of one direction, one file at a time; pickled with every task."""

    @property
    def queries(self) -> int:
        """Number of all queries."""

    @property
    def queries_per_file(self) -> int:
        """File i holds the queries [i · queries_per_file, (i + 1) · queries_per_file)."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Ranks one file's part of the stream (`query_schema`), writes the file, and yields its `FILE_DESCRIPTION`."""


@dataclass
class WrittenFiles:
    """The files of one table, in order, and the sums over them of the numbers in `FILE_DESCRIPTION`."""

    files: list[DataFile] = field(default_factory=list)
    total: int = 0
    listed: int = 0
    found: int = 0


def write_on_executors(stream: DataFrame, functions: Sequence[RankingFunction]) -> list[WrittenFiles]:
    """Applies each direction's function to its part of the stream, one task per file; returns the files of each.

    Only the descriptions, one row per file, come back to the driver.
    """
    tasks = [max(1, -(-function.queries // function.queries_per_file)) for function in functions]
    first_task = F.array(*map(F.lit, accumulate(tasks[:-1], initial=0)))
    per_file = F.array(*[F.lit(function.queries_per_file) for function in functions])
    direction = F.col(QueryColumns.DIRECTION)
    task = first_task[direction] + F.floor(F.col(QueryColumns.POSITION) / per_file[direction])
    placed = stream.repartitionById(sum(tasks), task.cast("int"))
    ordered = placed.sortWithinPartitions(QueryColumns.POSITION, F.col(QueryColumns.SEEN).asc_nulls_first())
    described = ordered.mapInArrow(partial(_run_task, functions=functions), from_arrow_schema(FILE_DESCRIPTION))
    return collect_written(described, len(functions))


def collect_written(described: DataFrame, tables: int) -> list[WrittenFiles]:
    """The files of each of several tables, from the rows `FILE_DESCRIPTION` that the tasks return."""
    written = [WrittenFiles() for _ in range(tables)]
    for row in sorted(described.collect(), key=lambda row: (row["direction"], row["name"])):
        of_table = written[row[QueryColumns.DIRECTION]]
        of_table.files.append(DataFile(row["name"], row["bytes"], row["sha256"], row["rows"]))
        of_table.total += row["total"]
        of_table.listed += row["listed"]
        of_table.found += row["found"]
    return written


def _run_task(batches: Iterator[pa.RecordBatch], functions: Sequence[RankingFunction]) -> Iterator[pa.RecordBatch]:
    """Runs in a task; all rows of a task have the same direction."""
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is not None:
        yield from functions[first[QueryColumns.DIRECTION][0].as_py()](chain([first], batches))
