"""What SQL of candidates and business rules sees: users and movies with their columns, and the user's own tables."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.spark.graph.entities import position_of
from kgspark.spark.unknown_ids import id_column
from kgspark.tables import CLEAN, RATINGS, Columns

# The columns of the user's own tables that hold ids, by kind.
ID_COLUMNS = {USER: Columns.USER_ID, MOVIE: Columns.MOVIE_ID}


def with_columns(
    kind: str,
    table: DataFrame | None,
    ratings: DataFrame,
    entities: DataFrame,
    layout: EntityLayout,
    id_type: str,
    liked: str | None = None,
) -> DataFrame:
    """Every user or movie: its id, `position`, number of `ratings`, and the columns of its own table. Lazy.

    liked  SQL condition on the ratings; with it, there are also `likes`, and `age_days` if the ratings have times: the
           days from the first rating to the newest of all
    """
    id_name = f"{kind}_id"
    known = position_of(entities, layout, kind, id_type)
    numbers = [F.count("*").alias(RATINGS)]
    if liked is not None:
        numbers += [F.count_if(F.expr(liked)).alias(Columns.LIKES)]
        if Columns.TIMESTAMP in ratings.columns:
            numbers += [F.min(Columns.TIMESTAMP).alias("first")]
    rows = known.join(ratings.groupBy(id_name).agg(*numbers), on=id_name, how="left")
    counted = [name for name in (RATINGS, Columns.LIKES) if name in rows.columns]
    rows = rows.withColumns({name: F.coalesce(name, F.lit(0)) for name in counted})
    if "first" in rows.columns:
        newest = F.broadcast(ratings.agg(F.max(Columns.TIMESTAMP).alias("newest")))
        age = (F.col("newest") - F.col("first")) / F.lit(86_400)
        rows = rows.crossJoin(newest).withColumn(Columns.AGE_DAYS, age).drop("first", "newest")
    if table is None:
        return rows
    others = [name for name in table.columns if name not in set(rows.columns) - {id_name}]
    return rows.join(table.select(*others), on=id_name, how="left")


@contextmanager
def views(
    tables: Mapping[str, DataFrame], id_type: str, null_texts: Sequence[str]
) -> Iterator[Mapping[str, DataFrame]]:
    """Makes the tables visible to subqueries, temporarily: Spark resolves a condition when it is applied.

    Yields the tables with the ids of the user's own ones read.
    """
    typed = {name: _with_read_ids(name, table, id_type, null_texts) for name, table in tables.items()}
    for name, table in typed.items():
        table.createOrReplaceTempView(name)
    try:
        yield typed
    finally:
        for name, table in typed.items():
            table.sparkSession.catalog.dropTempView(name)


def _with_read_ids(name: str, table: DataFrame, id_type: str, null_texts: Sequence[str]) -> DataFrame:
    """A table as conditions and lists see it. A null among ids would make `NOT IN` false for every row."""
    if name in CLEAN:
        return table
    ids = [column for column in ID_COLUMNS.values() if column in table.columns]
    read = table
    for column in ids:
        read = read.withColumn(column, id_column(table, column, id_type, null_texts))
    return read.dropna(subset=ids) if ids else read
