"""Invariants of the tables that are published, checked on Spark before anyone can read them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from kgspark.graph.layout import USER, EntityLayout
from kgspark.spark.graph.entities import index_of
from kgspark.spark.ranking.candidates import Candidates
from kgspark.spark.ranking.executors import Side


@dataclass(frozen=True)
class Check:
    """One invariant: how many rows or queries break it (0 is well), and one that does."""

    name: str
    failures: int
    example: str = ""


@dataclass(frozen=True)
class RankedTable:
    """A recommendations or audiences table, with K and which kind asks."""

    rows: DataFrame
    side: Side
    k: int


def audit_rankings(
    tables: Sequence[RankedTable],
    ratings: DataFrame,
    entities: DataFrame,
    layout: EntityLayout,
    id_type: str,
    candidates: Candidates | None = None,
) -> list[list[Check]]:
    """The checks of every table, in one pass over all of them.

    Every query has ranks 1..n with n = k, or what its history leaves of what it is offered (the catalogue, or its
    `candidates`); no item twice; none that was seen; none that it is not offered; scores finite and not increasing; ids
    known; no row of an unknown query; the row count exact.
    """
    listed = _union(_listed(number, table) for number, table in enumerate(tables))
    known = _union(_ids(number, entities, t.side.item_kind, id_type, "item") for number, t in enumerate(tables))
    listed = listed.join(known.withColumn("known", F.lit(True)), on=["number", "item"], how="left")
    asking = _union(_ids(number, entities, t.side.query_kind, id_type, "query") for number, t in enumerate(tables))
    offered_ratings = ratings if candidates is None else candidates.allowed(ratings)
    histories = _union(_histories(number, offered_ratings, table.side) for number, table in enumerate(tables))
    # What is counted of a query comes from several sides; their sums meet in one row a query.
    counts = [_by_query(_by_item(_in_order(listed))), _leaks(listed, ratings), histories]
    if candidates is None:
        catalogues = F.array(*[F.lit(layout.count(table.side.item_kind)) for table in tables])
        offered = catalogues[F.col("number")]
    else:
        counts += [_outside(listed, candidates), *(_offered(n, t.side, candidates) for n, t in enumerate(tables))]
        offered = F.col("offered")
    queries = _summed(_union([*counts, asking.withColumn("asking", F.lit(1))]))
    ks = F.array(*[F.lit(table.k) for table in tables])
    # An item that is not of the ranked kind cannot have been taken from the catalogue, so histories are exact.
    due = F.least(ks[F.col("number")], offered - F.col("history"))
    broken = _broken(candidates is not None)
    found = {row["number"]: row for row in _measured(queries.withColumn("due", due), broken).collect()}
    return [_checks(found.get(number), table.side.query_column, broken) for number, table in enumerate(tables)]


def _union(frames: Iterable[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)


def _listed(number: int, table: RankedTable) -> DataFrame:
    ids = [F.col(table.side.query_column).alias("query"), F.col(table.side.item_column).alias("item")]
    return table.rows.select(F.lit(number).alias("number"), *ids, "user_id", "movie_id", "rank", "score")


def _histories(number: int, ratings: DataFrame, side: Side) -> DataFrame:
    counted = ratings.groupBy(F.col(side.query_column).alias("query")).agg(F.count("*").alias("history"))
    return counted.withColumn("number", F.lit(number))


def _leaks(listed: DataFrame, ratings: DataFrame) -> DataFrame:
    """Listed rows whose item the query has seen, counted by query. Both directions ask for the same pairs."""
    found = listed.join(ratings.select("user_id", "movie_id"), on=["user_id", "movie_id"], how="left_semi")
    return found.groupBy("number", "query").agg(F.count("*").alias("leaks"))


def _outside(listed: DataFrame, candidates: Candidates) -> DataFrame:
    """Listed rows that the user may not be recommended, counted by query."""
    rows = listed.groupBy("number", "query").agg(F.count("*").alias("outside"))
    allowed = candidates.allowed(listed).groupBy("number", "query").agg((-F.count("*")).alias("outside"))
    return rows.unionByName(allowed)


def _offered(number: int, side: Side, candidates: Candidates) -> DataFrame:
    """How many items each query is offered; several segments may offer users to a movie, but never one user twice."""
    asking, items = (
        (candidates.segments, candidates.movies)
        if side.query_kind == USER
        else (candidates.movies, candidates.segments)
    )
    sizes = items.groupBy("segment").agg(F.count("*").alias("offered"))
    of_segment = asking.join(sizes, on="segment")
    return of_segment.select(F.lit(number).alias("number"), F.col(side.query_column).alias("query"), "offered")


def _ids(number: int, entities: DataFrame, kind: str, id_type: str, name: str) -> DataFrame:
    return index_of(entities, kind, id_type, name, "index").select(F.lit(number).alias("number"), name)


def _in_order(listed: DataFrame) -> DataFrame:
    """Marks rows whose rank does not follow the one before it, or whose score is higher than the one before."""
    in_order = Window.partitionBy("number", "query").orderBy("rank")
    before = F.coalesce(F.lag("rank").over(in_order), F.lit(0))
    finite = F.col("score").isNotNull() & ~F.isnan("score") & (F.abs("score") != float("inf"))
    return listed.select(
        "number", "query", "item",
        F.col("known").isNull().alias("unknown"),
        (F.col("rank").isNull() | (F.col("rank") != before + 1)).alias("gap"),
        (F.col("score") > F.lag("score").over(in_order)).alias("rise"),
        (~finite).alias("not_finite"),
    )  # fmt: skip


def _by_item(listed: DataFrame) -> DataFrame:
    """One row a (query, item): how often it is listed, and what is wrong with it."""
    flags = [F.count_if(name).alias(name) for name in ("unknown", "gap", "rise", "not_finite")]
    return listed.groupBy("number", "query", "item").agg(F.count("*").alias("size"), *flags)


def _by_query(pairs: DataFrame) -> DataFrame:
    sums = [F.sum(name).alias(name) for name in ("size", "unknown", "gap", "rise", "not_finite")]
    return pairs.groupBy("number", "query").agg(F.count_if(F.col("size") > 1).alias("twice"), *sums)


def _summed(counts: DataFrame) -> DataFrame:
    names = [name for name in counts.columns if name not in ("number", "query")]
    return counts.groupBy("number", "query").agg(*[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in names])


def _broken(restricted: bool) -> dict[str, Column]:
    """The checks by name: whether a query breaks them."""
    only = {"only what is offered": F.col("outside") > 0} if restricted else {}
    return only | {
        "every id has its rows": (F.col("asking") > 0) & (F.col("size") != F.col("due")),
        "no rows of an unknown id": (F.col("asking") == 0) & (F.col("size") > 0),
        "ranks run from 1 without gap": F.col("gap") > 0,
        "no item twice": F.col("twice") > 0,
        "no seen item": F.col("leaks") > 0,
        "items are known": F.col("unknown") > 0,
        "scores are finite": F.col("not_finite") > 0,
        "scores do not increase": F.col("rise") > 0,
    }


def _measured(queries: DataFrame, checks: Mapping[str, Column]) -> DataFrame:
    """One row a table: queries that break each check and one of them, rows that are due, and rows that are there."""
    broken = list(checks.values())
    return queries.groupBy("number").agg(
        *[F.count_if(condition).alias(f"n{i}") for i, condition in enumerate(broken)],
        *[F.min(F.when(condition, F.col("query"))).cast("string").alias(f"e{i}") for i, condition in enumerate(broken)],
        F.sum(F.when(F.col("asking") > 0, F.col("due"))).alias("due"),
        F.sum("size").alias("rows"),
    )


def _checks(measured: Row | None, query: str, broken: Iterable[str]) -> list[Check]:
    row = {} if measured is None else measured.asDict()
    checks = [Check(name, row.get(f"n{i}", 0), f"{query} {row.get(f'e{i}')}") for i, name in enumerate(broken)]
    due, rows = row.get("due") or 0, row.get("rows") or 0
    return [*checks, Check("row count as expected", abs(due - rows), f"{rows:,} rows, {due:,} expected")]
