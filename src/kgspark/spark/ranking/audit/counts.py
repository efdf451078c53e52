"""Counts per list of the ranked tables: the frames that the audit adds up, each of one sort of rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from kgspark.graph.layout import USER
from kgspark.names import OURS, Names
from kgspark.spark.graph.entities import index_of
from kgspark.spark.graph.relations import resolve
from kgspark.spark.ranking.audit.checks import Check
from kgspark.spark.ranking.audit.settings import OwnCheckSettings
from kgspark.spark.ranking.candidates import Candidates
from kgspark.spark.ranking.executors import Direction
from kgspark.tables import LEARNED, PLACED_SOURCES, POPULAR_SOURCES, Columns

# The counts of a list, which the SQL of checks of queries and tables sees, besides `due`.
COUNTS = (
    "known_query",  # 1 if the query is an entity, else 0
    "listed",  # its rows
    "history",  # items that it has rated, of those offered to it
    "seen",  # rows whose item it has rated
    "not_offered",  # rows outside its candidates
    "offered",  # items offered to it, if candidates are restricted
    "reasons",  # rows with a reason
    "liked_reasons",  # rows whose reason it has liked
    "likes",  # movies that it has liked
    "fallback",  # rows of another source than the model
    "popular",  # rows that no vector ranked
    "placed",  # rows that a business rule has placed
    "over_cap",  # groups with more rows than rules.at_most allows
    "misplaced",  # pinned movies without their rank, and rows that pretend to be pinned
    "badly_drawn",  # drawn rows that should not be
    "facts",  # rows whose reason has a relation or an entity
    "shared_facts",  # rows whose reason has a fact that both movies have
    "constant",  # 1 if the list has several rows that vectors ranked, all with the same score, else 0
    "before",  # rows in the last published night
    "kept",  # items that are in both nights
    "broken",  # bits of the broken checks of rows and items
)


@dataclass(frozen=True)
class RankedTable:
    """A recommendations or audiences table, its direction, and its K.

    rows    with the names of the files
    before  the same table of the last published night, with our names; None if there is none
    """

    name: str
    rows: DataFrame
    direction: Direction
    k: int
    before: DataFrame | None = None


@dataclass(frozen=True)
class NightFacts:
    """What the rows of a night must agree with.

    liked  SQL condition on the ratings, true for a liked movie
    names  the names of the tables' columns, and the words of the findings
    """

    ds: str
    model_id: str
    liked: str
    names: Names = OURS


def listed_rows(
    number: Column,
    table: RankedTable,
    night: NightFacts,
    chosen: Sequence[Check],
    own: Sequence[tuple[str, OwnCheckSettings]],
    by_rules: bool = False,
) -> DataFrame:
    """The rows of a table. Each text is compared here, so that only numbers are shuffled.

    number    of the table, in the column of this name of all frames here
    by_rules  True for a column `placed`: the source of a row that a business rule has placed, null for others
    """
    of_own = {f"own_{i}": _own_condition(name, check, table) for i, (name, check) in enumerate(own)}
    rows = with_our_names(table.rows, night.names, number=number, **of_own)
    missing = {Columns.USER_ID, Columns.REASON} - set(rows.columns)
    nulls = {name: F.lit(None).cast(rows.schema[Columns.MOVIE_ID].dataType) for name in missing}
    rows = rows.withColumns({**nulls, "night": F.lit(night.ds), "night_model": F.lit(night.model_id)})
    facts = [name for name in (Columns.REASON_RELATION, Columns.REASON_ENTITY) if name in rows.columns]
    return rows.select(
        "number",
        *facts,
        F.col(table.direction.query_column).alias("query"),
        F.col(table.direction.item_column).alias("item"),
        *(Columns.USER_ID, Columns.MOVIE_ID, Columns.RANK, Columns.SCORE),
        F.col(Columns.REASON).alias("reason"),
        F.when(F.col(Columns.SOURCE) != LEARNED, 1).otherwise(0).alias("fallback"),
        F.coalesce(F.array_position(F.lit(list(POPULAR_SOURCES)), F.col(Columns.SOURCE)), F.lit(0)).alias("popular"),
        broken_bits(chosen, "row").alias("broken"),
        *([F.when(F.col(Columns.SOURCE).isin(*PLACED_SOURCES), F.col(Columns.SOURCE)).alias("placed")] * by_rules),
        *of_own,
    )


def with_our_names(rows: DataFrame, names: Names, **more: Column) -> DataFrame:
    """A ranked table with our column names, and `more` columns, which see the table's own. Lazy."""
    ours = {own: name for name, own in names.columns.items()}
    # In backticks, because a table that somebody else has changed may have any names.
    quoted = {column: f"`{column.replace('`', '``')}`" for column in rows.columns}
    renamed = [F.col(quoted[column]).alias(ours.get(column, column)) for column in rows.columns]
    return rows.select(*renamed, *[column.alias(name) for name, column in more.items()])


def _own_condition(name: str, check: OwnCheckSettings, table: RankedTable) -> Column:
    """1 for a row that a check of the user finds bad, else 0. The only place where SQL of `audit.own` is read."""
    if check.table != table.name or check.severity == "off":
        return F.lit(0)
    resolve(f"audit.own.{name}.where", table.rows, lambda: table.rows.where(check.where))
    return F.when(F.expr(check.where), 1).otherwise(0)


def broken_bits(chosen: Sequence[Check], level: str) -> Column:
    """A bit for each check of the level, which is set if the rule is broken."""
    bits = [
        F.when(F.expr(check.sql), F.lit(1 << i).cast("bigint")).otherwise(F.lit(0).cast("bigint"))
        for i, check in enumerate(chosen)
        if check.of == level
    ]
    return reduce(Column.bitwiseOR, bits)


def earlier_rows(number: Column, table: RankedTable, id_type: str) -> DataFrame:
    """The rows of the table in the last published night: number, query, item."""
    assert table.before is not None
    names = {"query": table.direction.query_column, "item": table.direction.item_column}
    ids = [F.col(column).try_cast(id_type).alias(name) for name, column in names.items()]
    return table.before.select(number.alias("number"), *ids)


def known_ids(numbers: Sequence[int], entities: DataFrame, kind: str, id_type: str, name: str) -> DataFrame:
    """The ids of all entities of a kind, in the column `name`, once per table."""
    return _per_table(numbers, index_of(entities, kind, id_type, name, "index").select(name))


def _per_table(numbers: Sequence[int], frame: DataFrame) -> DataFrame:
    return frame.withColumn("number", F.explode(F.array(*map(F.lit, numbers))))


def listed_counts(listed: DataFrame, known_items: DataFrame, chosen: Sequence[Check], own: int) -> DataFrame:
    """Per query: its rows of several sorts, and the bits of the checks that its rows or items break."""
    in_order = Window.partitionBy("number", "query").orderBy("rank")
    rows = listed.join(known_items.withColumn("known", F.lit(True)), on=["number", "item"], how="left").select(
        *listed.columns,
        F.col("known").isNotNull().alias("known_item"),
        F.coalesce(F.lag("rank").over(in_order), F.lit(0)).alias("previous_rank"),
        _previous_score(listed, in_order).alias("previous_score"),
        F.lag("popular").over(in_order).alias("previous_popular"),
    )
    rows = rows.withColumn("broken", F.col("broken").bitwiseOR(broken_bits(chosen, "step")))
    summed = ["fallback", *(f"own_{i}" for i in range(own))]
    of_vector = F.when(F.col("popular") == 0, F.col("score"))
    items = rows.groupBy("number", "query", "item").agg(
        F.count("*").alias("listed"),
        F.bit_or("broken").alias("broken"),
        F.count("reason").alias("reasons"),
        F.count_if(F.col("popular") > 0).alias("popular"),
        F.count_if(F.col("popular") == 0).alias("by_vector"),
        F.min(of_vector).alias("lowest"),
        F.max(of_vector).alias("highest"),
        *[F.sum(name).alias(name) for name in summed],
    )
    items = items.withColumn("broken", F.col("broken").bitwiseOR(broken_bits(chosen, "item")))
    same = (F.sum("by_vector") > 1) & (F.min("lowest") == F.max("highest"))
    return items.groupBy("number", "query").agg(
        F.bit_or("broken").alias("broken"),
        F.when(same, 1).otherwise(0).alias("constant"),
        *[F.sum(name).alias(name) for name in ("listed", "reasons", "popular", *summed)],
    )


def _previous_score(listed: DataFrame, in_order: WindowSpec) -> Column:
    """The score of the row before; with business rules, of the last one that none has placed, null for placed rows."""
    if "placed" not in listed.columns:
        return F.lag("score").over(in_order)
    by_score = F.when(F.col("placed").isNull(), F.col("score"))
    before = F.last(by_score, ignorenulls=True).over(in_order.rowsBetween(Window.unboundedPreceding, -1))
    return F.when(F.col("placed").isNull(), before)


def rated_counts(listed: DataFrame, ratings: DataFrame, liked: str) -> DataFrame:
    """Per query: its rows whose item it has rated, and those whose reason it has liked; one join for both."""
    item, reason = (
        F.struct(F.col(name).alias(Columns.MOVIE_ID), F.lit(is_reason).alias("is_reason"))
        for name, is_reason in ((Columns.MOVIE_ID, False), ("reason", True))
    )
    both = F.when(F.col("reason").isNull(), F.array(item)).otherwise(F.array(item, reason))
    pairs = listed.select("number", "query", Columns.USER_ID, F.inline(both))
    rated = ratings.select(Columns.USER_ID, Columns.MOVIE_ID, F.expr(liked).alias("liked"))
    found = pairs.join(rated, on=[Columns.USER_ID, Columns.MOVIE_ID], how="inner")
    return found.groupBy("number", "query").agg(
        F.count_if(~F.col("is_reason")).alias("seen"),
        F.count_if(F.col("is_reason") & F.col("liked")).alias("liked_reasons"),
    )


def history_counts(numbers: Sequence[int], ratings: DataFrame, direction: Direction) -> DataFrame:
    """Per query: the number of its ratings."""
    counted = ratings.groupBy(F.col(direction.query_column).alias("query")).agg(F.count("*").alias("history"))
    return _per_table(numbers, counted)


def like_counts(numbers: Sequence[int], ratings: DataFrame, liked: str) -> DataFrame:
    """Per user: the number of liked movies."""
    counted = ratings.groupBy(F.col(Columns.USER_ID).alias("query")).agg(F.count_if(F.expr(liked)).alias("likes"))
    return _per_table(numbers, counted)


def churn_counts(listed: DataFrame, earlier: DataFrame) -> DataFrame:
    """Per query: its rows of the last published night (`before`), and the items that are in both (`kept`)."""
    names = ("number", "query", "item")
    now = listed.select(*names).withColumns({"now": F.lit(1), "before": F.lit(0)})
    rows = now.unionByName(earlier.withColumns({"now": F.lit(0), "before": F.lit(1)}))
    items = rows.groupBy(*names).agg(F.max("now").alias("now"), F.max("before").alias("before"))
    kept = F.sum(F.col("now") * F.col("before"))
    return items.groupBy("number", "query").agg(F.sum("before").alias("before"), kept.alias("kept"))


def not_offered_counts(listed: DataFrame, candidates: Candidates) -> DataFrame:
    """Per query: number of listed rows that are not allowed, as all rows minus the allowed ones."""
    rows = listed.groupBy("number", "query").agg(F.count("*").alias("not_offered"))
    allowed = candidates.allowed(listed).groupBy("number", "query").agg((-F.count("*")).alias("not_offered"))
    return rows.unionByName(allowed)


def offered_counts(numbers: Sequence[int], direction: Direction, candidates: Candidates) -> DataFrame:
    """Per query: number of offered items. Several segments may offer users to a movie, but no user twice."""
    asking, items = (
        (candidates.segments, candidates.movies)
        if direction.query_kind == USER
        else (candidates.movies, candidates.segments)
    )
    sizes = items.groupBy("segment").agg(F.count("*").alias("offered"))
    of_segment = asking.join(sizes, on="segment", how="inner")
    return _per_table(numbers, of_segment.select(F.col(direction.query_column).alias("query"), "offered"))


def sum_by_query(counts: DataFrame, own: int) -> DataFrame:
    """One row per query; a count is 0 in a frame without its column."""
    names = [*COUNTS, *(f"own_{i}" for i in range(own))]
    sums = [F.coalesce(F.sum(name), F.lit(0)) if name in counts.columns else F.lit(0) for name in names]
    return counts.groupBy("number", "query").agg(*[total.alias(name) for name, total in zip(names, sums, strict=True)])


def union(frames: Iterable[DataFrame]) -> DataFrame:
    """All rows of all frames; null in a column that a frame lacks."""
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)
