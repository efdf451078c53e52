"""Invariants of the tables that are published, checked on Spark before anyone can read them."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.entity_layout import EntityLayout
from kgspark.spark.entities import index_of
from kgspark.spark.ranking import Side


@dataclass(frozen=True)
class Check:
    """One invariant: how many rows or queries break it (0 is well), and one that does."""

    name: str
    failures: int
    example: str = ""


def audit_ranking(
    table: DataFrame,
    ratings: DataFrame,
    entities: DataFrame,
    layout: EntityLayout,
    side: Side,
    k: int,
    id_type: str,
) -> list[Check]:
    """Checks a recommendations or audiences table.

    Every query has ranks 1..n with n = k, or what its history leaves of the catalogue; no item twice; none that was
    seen; scores finite and not increasing; ids known; no row of an unknown query; the row count exact.
    """
    query, item = side.query_column, side.item_column
    items = layout.count(side.item_kind)
    asking = index_of(entities, side.query_kind, id_type, query, "query_index").select(query)
    ranked = index_of(entities, side.item_kind, id_type, item, "item_index").select(
        item, F.lit(True).alias("known_item")
    )
    # Everything goes by query once; the hash joins inside a partition then need no sort and no second shuffle.
    pairs = ratings.select(query, item, F.lit(True).alias("was_seen")).repartition(query)
    listed = table.select(query, item, "rank", "score").join(F.broadcast(ranked), on=item, how="left")
    rows = listed.repartition(query).join(pairs.hint("shuffle_hash"), on=[query, item], how="left")
    lists = rows.groupBy(query).agg(
        F.sort_array(F.collect_list(F.struct("rank", item, "score"))).alias("list"),
        F.count("was_seen").alias("seen_rows"),
        F.count_if(F.col("known_item").isNull()).alias("unknown_items"),
    )
    histories = pairs.groupBy(query).agg(F.count("*").alias("history"))
    # A movie that is not in the ranked kind cannot have been taken from the catalogue, so histories are exact.
    every = (
        asking.withColumn("known_query", F.lit(True))
        .join(lists, on=query, how="full")
        .join(histories, on=query, how="left")
    )
    size = F.coalesce(F.size("list"), F.lit(0))
    due = F.least(F.lit(k), F.lit(items) - F.coalesce(F.col("history"), F.lit(0)))
    score = F.transform("list", lambda row: row["score"])
    steps = F.zip_with(
        F.slice(score, F.lit(1), F.greatest(size - 1, F.lit(0))),
        F.slice(score, F.lit(2), F.greatest(size - 1, F.lit(0))),
        lambda higher, lower: higher >= lower,
    )
    broken = {
        "every id has its rows": F.col("known_query") & (size != due),
        "no rows of an unknown id": F.col("known_query").isNull(),
        "ranks run from 1 without gap": (size > 0)
        & (F.transform("list", lambda row: row["rank"]) != F.sequence(F.lit(1), F.greatest(size, F.lit(1)))),
        "no item twice": F.size(F.array_distinct(F.transform("list", lambda row: row[item]))) != size,
        "no seen item": F.col("seen_rows") > 0,
        "items are known": F.col("unknown_items") > 0,
        "scores are finite": F.exists(score, lambda s: s.isNull() | F.isnan(s) | (F.abs(s) == float("inf"))),
        "scores do not increase": ~F.forall(steps, lambda well: well),
    }
    measured = every.agg(
        *[
            F.count_if(F.coalesce(condition, F.lit(False))).alias(f"n{i}")
            for i, condition in enumerate(broken.values())
        ],
        *[
            F.min(F.when(condition, F.col(query))).cast("string").alias(f"e{i}")
            for i, condition in enumerate(broken.values())
        ],
        F.sum(F.when(F.col("known_query"), due)).alias("due"),
        F.sum(size).alias("rows"),
    ).collect()[0]
    checks = [Check(name, measured[f"n{i}"], f"{query} {measured[f'e{i}']}") for i, name in enumerate(broken)]
    missing = abs((measured["due"] or 0) - (measured["rows"] or 0))
    return [
        *checks,
        Check("row count as expected", missing, f"{measured['rows']:,} rows, {measured['due']:,} expected"),
    ]
