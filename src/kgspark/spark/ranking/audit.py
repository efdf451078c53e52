"""Invariants of the ranked tables, checked on Spark before the tables are published."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from kgspark.graph.layout import USER, EntityLayout
from kgspark.spark.graph.entities import index_of
from kgspark.spark.ranking.candidates import Candidates
from kgspark.spark.ranking.executors import Direction


@dataclass(frozen=True)
class Invariant:
    """One invariant, as an SQL condition that is true if it is broken.

    of      row: the condition sees a listed row with its neighbour: rank, score, previous_rank (0 at the start of a
            list), previous_score (null there), known_item (false if the item is no entity of the ranked kind)
            item: it sees a query and one of its items: listed (rows with that item)
            query: it sees a query: known_query (1 if the query is an entity, else 0), listed (its rows), due (the rows
            that it should have), seen (rows whose item it has rated), not_offered (rows outside its candidates)
    broken  the condition
    restricted_only  True if it only applies when candidates are restricted
    """

    name: str
    of: Literal["row", "item", "query"]
    broken: str
    restricted_only: bool = False


# The audit. A new invariant is one more entry; a check counts the queries that break it.
INVARIANTS = (
    Invariant("only what is offered", "query", "not_offered > 0", restricted_only=True),
    Invariant("every id has its rows", "query", "known_query > 0 AND listed != due"),
    Invariant("no rows of an unknown id", "query", "known_query = 0 AND listed > 0"),
    Invariant("ranks run from 1 without gap", "row", "rank IS NULL OR rank != previous_rank + 1"),
    Invariant("no item twice", "item", "listed > 1"),
    Invariant("no seen item", "query", "seen > 0"),
    Invariant("items are known", "row", "NOT known_item"),
    Invariant("scores are finite", "row", "score IS NULL OR isnan(score) OR abs(score) = double('infinity')"),
    Invariant("scores do not increase", "row", "score > previous_score"),
)


@dataclass(frozen=True)
class Check:
    """The result for one invariant: the number of queries that break it (0 is good), and one of them."""

    name: str
    failures: int
    example: str = ""


@dataclass(frozen=True)
class RankedTable:
    """A recommendations or audiences table, its direction, and its K."""

    rows: DataFrame
    direction: Direction
    k: int


def audit_rankings(
    tables: Sequence[RankedTable],
    ratings: DataFrame,
    entities: DataFrame,
    layout: EntityLayout,
    id_type: str,
    candidates: Candidates | None = None,
) -> list[list[Check]]:
    """The checks of every table, in one pass over all of them: `INVARIANTS`, and the row count.

    ratings  the pairs that were seen, each once, with users and movies that are entities

    A query must have n rows: K, or fewer if fewer items are left of those offered to it (the catalogue, or its
    `candidates`) without those that it has rated.
    """
    invariants = [invariant for invariant in INVARIANTS if candidates is not None or not invariant.restricted_only]
    listed = _union(_listed(number, table) for number, table in enumerate(tables))
    known_items = _union(_ids(n, entities, t.direction.item_kind, id_type, "item") for n, t in enumerate(tables))
    known_queries = _union(_ids(n, entities, t.direction.query_kind, id_type, "query") for n, t in enumerate(tables))
    rated = ratings if candidates is None else candidates.allowed(ratings)
    counts = [
        _listed_counts(listed, known_items, invariants),
        _seen_counts(listed, ratings),
        known_queries.withColumn("known_query", F.lit(1)),
        *(_history_counts(number, rated, table.direction) for number, table in enumerate(tables)),
    ]
    if candidates is None:
        offered = _by_table([layout.count(table.direction.item_kind) for table in tables])
    else:
        counts += [_not_offered_counts(listed, candidates)]
        counts += [_offered_counts(number, table.direction, candidates) for number, table in enumerate(tables)]
        offered = F.col("offered")
    # Every rated item is an entity of the ranked kind, so the offered items minus the history is the exact number.
    due = F.least(_by_table([table.k for table in tables]), offered - F.col("history"))
    queries = _sum_by_query(_union(counts)).withColumn("due", due)
    found = {row["number"]: row for row in _failures(queries, invariants).collect()}
    return [_checks(found.get(number), table.direction.query_column, invariants) for number, table in enumerate(tables)]


def _union(frames: Iterable[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)


def _by_table(values: Sequence[int]) -> Column:
    """The value for the table that a row belongs to."""
    return F.array(*map(F.lit, values))[F.col("number")]


def _listed(number: int, table: RankedTable) -> DataFrame:
    ids = [F.col(table.direction.query_column).alias("query"), F.col(table.direction.item_column).alias("item")]
    return table.rows.select(F.lit(number).alias("number"), *ids, "user_id", "movie_id", "rank", "score")


def _ids(number: int, entities: DataFrame, kind: str, id_type: str, name: str) -> DataFrame:
    return index_of(entities, kind, id_type, name, "index").select(F.lit(number).alias("number"), name)


def _listed_counts(listed: DataFrame, known_items: DataFrame, invariants: Sequence[Invariant]) -> DataFrame:
    """Per query: the number of its rows, and of the rows or items that break each invariant of rows or items."""
    in_order = Window.partitionBy("number", "query").orderBy("rank")
    rows = listed.join(known_items.withColumn("known", F.lit(True)), on=["number", "item"], how="left").select(
        "number", "query", "item", "rank", "score",
        F.col("known").isNotNull().alias("known_item"),
        F.coalesce(F.lag("rank").over(in_order), F.lit(0)).alias("previous_rank"),
        F.lag("score").over(in_order).alias("previous_score"),
    )  # fmt: skip
    of_rows, of_items = (_counts_of(invariants, level) for level in ("row", "item"))
    items = rows.groupBy("number", "query", "item").agg(F.count("*").alias("listed"), *of_rows.values())
    sums = [F.sum(name).alias(name) for name in ("listed", *of_rows)]
    return items.groupBy("number", "query").agg(*sums, *of_items.values())


def _counts_of(invariants: Sequence[Invariant], level: str) -> dict[str, Column]:
    """Counts of broken invariants of one level, by the name of the column for the count."""
    return {
        f"broken_{i}": F.count_if(F.expr(invariant.broken)).alias(f"broken_{i}")
        for i, invariant in enumerate(invariants)
        if invariant.of == level
    }


def _seen_counts(listed: DataFrame, ratings: DataFrame) -> DataFrame:
    """Per query: number of listed rows whose item it has rated. Both directions join the same pairs."""
    found = listed.join(ratings.select("user_id", "movie_id"), on=["user_id", "movie_id"], how="left_semi")
    return found.groupBy("number", "query").agg(F.count("*").alias("seen"))


def _history_counts(number: int, ratings: DataFrame, direction: Direction) -> DataFrame:
    counted = ratings.groupBy(F.col(direction.query_column).alias("query")).agg(F.count("*").alias("history"))
    return counted.withColumn("number", F.lit(number))


def _not_offered_counts(listed: DataFrame, candidates: Candidates) -> DataFrame:
    """Per query: number of listed rows that are not allowed, as all rows minus the allowed ones."""
    rows = listed.groupBy("number", "query").agg(F.count("*").alias("not_offered"))
    allowed = candidates.allowed(listed).groupBy("number", "query").agg((-F.count("*")).alias("not_offered"))
    return rows.unionByName(allowed)


def _offered_counts(number: int, direction: Direction, candidates: Candidates) -> DataFrame:
    """Per query: number of offered items. Several segments may offer users to a movie, but no user twice."""
    asking, items = (
        (candidates.segments, candidates.movies)
        if direction.query_kind == USER
        else (candidates.movies, candidates.segments)
    )
    sizes = items.groupBy("segment").agg(F.count("*").alias("offered"))
    of_segment = asking.join(sizes, on="segment", how="inner")
    return of_segment.select(F.lit(number).alias("number"), F.col(direction.query_column).alias("query"), "offered")


def _sum_by_query(counts: DataFrame) -> DataFrame:
    """One row per query; a count is 0 in a frame without its column."""
    names = [name for name in counts.columns if name not in ("number", "query")]
    return counts.groupBy("number", "query").agg(*[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in names])


def _failures(queries: DataFrame, invariants: Sequence[Invariant]) -> DataFrame:
    """One row per table: queries that break each invariant, the smallest of them, rows due and rows listed."""
    broken = [
        F.expr(invariant.broken) if invariant.of == "query" else F.col(f"broken_{i}") > 0
        for i, invariant in enumerate(invariants)
    ]
    return queries.groupBy("number").agg(
        *[F.count_if(condition).alias(f"failures_{i}") for i, condition in enumerate(broken)],
        *[F.min(F.when(c, F.col("query"))).cast("string").alias(f"example_{i}") for i, c in enumerate(broken)],
        F.sum(F.when(F.col("known_query") > 0, F.col("due"))).alias("due"),
        F.sum("listed").alias("listed"),
    )


def _checks(found: Row | None, query: str, invariants: Sequence[Invariant]) -> list[Check]:
    row: Mapping[str, Any] = {} if found is None else found.asDict()
    checks = [
        Check(invariant.name, row.get(f"failures_{i}", 0), f"{query} {row.get(f'example_{i}')}")
        for i, invariant in enumerate(invariants)
    ]
    due, listed = row.get("due") or 0, row.get("listed") or 0
    return [*checks, Check("row count as expected", abs(due - listed), f"{listed:,} rows, {due:,} expected")]
