"""The checks that see every row of the ranked tables, in one pass on Spark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.graph.layout import EntityLayout
from kgspark.names import Names
from kgspark.spark.ranking.audit import checks, likeness
from kgspark.spark.ranking.audit.checks import Check
from kgspark.spark.ranking.audit.counts import (
    NightFacts,
    RankedTable,
    churn_counts,
    earlier_rows,
    history_counts,
    known_ids,
    like_counts,
    listed_counts,
    listed_rows,
    not_offered_counts,
    offered_counts,
    rated_counts,
    sum_by_query,
    union,
)
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.rules import RuleFacts, fact_counts, rule_counts
from kgspark.spark.ranking.audit.settings import AuditSettings
from kgspark.spark.ranking.candidates import Candidates
from kgspark.tables import RANKED, RECOMMENDATIONS, Columns

# Concentration looks at this share of the users.
_TOP = 0.01


@dataclass(frozen=True)
class Beside:
    """The tables of a night that its ranked tables must agree with.

    ratings     the pairs that were seen, each once: ratings, and refused ones with a null as rating
    candidates  None if every movie is offered to every user
    rules       the business rules of recommendations; None for none
    facts       the facts about movies that reasons name; None if they name none
    """

    ratings: DataFrame
    entities: DataFrame
    layout: EntityLayout
    id_type: str
    candidates: Candidates | None = None
    rules: RuleFacts | None = None
    facts: DataFrame | None = None

    @property
    def features(self) -> set[str]:
        """What checks may need: see `Check.only_with`."""
        return (set() if self.rules is None else self.rules.features) | (
            {"reason_facts"} if self.facts is not None else set()
        )


def audit_lists(
    tables: Sequence[RankedTable], night: NightFacts, beside: Beside, settings: AuditSettings
) -> list[list[Finding]]:
    """The findings of each table, in one pass over all of them.

    A query must have n rows: K, or fewer if fewer items are left of those offered to it (the catalogue, or its
    candidates) without those that it has rated.

    Raises ConfigError with the dotted key of a condition of `audit.own` that Spark cannot resolve.
    """
    own = list(settings.own.items())
    listed = union(
        listed_rows(F.lit(n), table, night, sql_checks(), own, beside.rules is not None)
        for n, table in enumerate(tables)
    )
    earlier = [
        earlier_rows(F.lit(n), table, beside.id_type) for n, table in enumerate(tables) if table.before is not None
    ]
    return audit_rows(listed, union(earlier) if earlier else None, tables, night, beside, settings)


def sql_checks() -> list[Check]:
    """The checks that the pass answers by their SQL."""
    return [check for check in checks.CHECKS if check.of != "measured" and set(check.tables) & set(RANKED)]


def audit_rows(
    listed: DataFrame,
    earlier: DataFrame | None,
    tables: Sequence[RankedTable],
    night: NightFacts,
    beside: Beside,
    settings: AuditSettings,
) -> list[list[Finding]]:
    """`audit_lists` of `listed_rows` and `earlier_rows` of all tables, whose column `number` counts `tables`."""
    own = len(settings.own)
    queries = _queries(listed, earlier, tables, night, beside, own)
    found = union([_measured(queries, own), *_item_counts(tables, listed, beside.candidates)]).collect()
    rows_of = [[row.asDict() for row in found if row["number"] == number] for number in range(len(tables))]
    return [
        [
            *_sql_findings(rows, table, settings, beside, night.names),
            *_item_findings(rows, table, settings, beside.layout, night.names),
            *_own_findings(rows, table, settings),
        ]
        for table, rows in zip(tables, rows_of, strict=True)
    ]


def _queries(
    listed: DataFrame,
    earlier: DataFrame | None,
    tables: Sequence[RankedTable],
    night: NightFacts,
    beside: Beside,
    own: int,
) -> DataFrame:
    """One row per table and query: `COUNTS`, and `due`, the number of rows that it should have."""
    candidates, numbers = beside.candidates, range(len(tables))
    rated = beside.ratings if candidates is None else candidates.allowed(beside.ratings)
    recommending = [n for n in numbers if tables[n].name == RECOMMENDATIONS]
    alike = [n for n in numbers if tables[n].direction.is_likeness]
    items, counts = [], [rated_counts(listed, beside.ratings, night.liked)]
    for direction in dict.fromkeys(table.direction for table in tables):
        of_direction = [n for n in numbers if tables[n].direction == direction]
        known = known_ids(of_direction, beside.entities, direction.query_kind, beside.id_type, "query")
        items += [known_ids(of_direction, beside.entities, direction.item_kind, beside.id_type, "item")]
        counts += [known.withColumn("known_query", F.lit(1))]
        if direction.is_likeness:
            counts += [*likeness.own_counts(known, candidates), likeness.listed_themselves(of_direction, listed)]
            continue
        counts += [history_counts(of_direction, rated, direction)]
        if candidates is not None:
            counts += [offered_counts(of_direction, direction, candidates)]
    counts += [listed_counts(listed, union(items), sql_checks(), own)]
    if recommending:
        counts += [like_counts(recommending, beside.ratings, night.liked)]
    if candidates is not None:
        counts += [not_offered_counts(listed.where(likeness.ranks_others(alike)), candidates)]
        if alike:
            counts += [likeness.not_offered_counts(alike, listed, candidates)]
    if beside.rules is not None:
        for n in recommending:
            counts += rule_counts(n, tables[n].k, listed, beside.rules, beside.ratings, candidates)
    if beside.facts is not None:
        counts += [fact_counts(listed, beside.facts, beside.entities, beside.id_type, beside.layout)]
    if earlier is not None:
        counts += [churn_counts(listed, earlier)]
    catalogue = _by_table([beside.layout.count(table.direction.item_kind) for table in tables])
    offered = catalogue if candidates is None else F.col("offered")
    # Every rated item is an entity of the ranked kind, so the offered items minus the history is the exact number.
    left = F.least(_by_table([table.k for table in tables]), offered - F.col("history"))
    due = F.when(F.col("known_query") > 0, left).otherwise(0)
    if beside.rules is not None and beside.rules.at_most:
        # Caps may shorten a list. The check top_k looks for movies that it could have had.
        due = F.when(F.col("number").isin(recommending), F.least(due, F.col("listed"))).otherwise(due)
    return sum_by_query(union(counts), own).withColumn("due", due)


def _by_table(values: Sequence[int]) -> Column:
    """The value for the table that a row belongs to."""
    return F.array(*map(F.lit, values))[F.col("number")]


def _measured(queries: DataFrame, own: int) -> DataFrame:
    """One row per table: the value and the example of each check, and the bad rows of each check of the user."""
    columns = [F.sum("listed").alias("listed"), *[F.sum(f"own_{i}").alias(f"own_{i}") for i in range(own)]]
    return queries.groupBy("number").agg(*columns, *measures(sql_checks()))


def measures(chosen: Sequence[Check]) -> list[Column]:
    """For the check number i of the chosen ones: `value_i` and `example_i`, aggregates over the counts of queries."""
    columns = []
    for i, check in enumerate(chosen):
        if check.of == "table":
            value = F.expr(check.sql)
            example = F.expr(check.example) if check.example else F.lit("")
        else:
            bit = F.col("broken").bitwiseAND(F.lit(1 << i).cast("bigint"))
            is_broken = F.expr(check.sql) if check.of == "query" else bit != 0
            value = F.count_if(is_broken)
            example = F.min(F.when(is_broken, F.col("query"))).cast("string")
        columns += [value.cast("double").alias(f"value_{i}"), example.alias(f"example_{i}")]
    return columns


def _item_counts(tables: Sequence[RankedTable], listed: DataFrame, candidates: Candidates | None) -> list[DataFrame]:
    """Per table: how many items (`items`) lead how many lists (`leads`); and the number of offered movies."""
    # Coverage asks for all items of recommendations, and concentration for the first ones alone.
    recommending = [number for number, table in enumerate(tables) if table.name == RECOMMENDATIONS]
    counted = listed.where((F.col("rank") == 1) | F.col("number").isin(recommending))
    by_item = counted.groupBy("number", "item").agg(F.count_if(F.col("rank") == 1).alias("leads"))
    frames = [by_item.groupBy("number", "leads").agg(F.count("*").alias("items"))]
    if candidates is not None:
        offered = candidates.movies.agg(F.countDistinct(Columns.MOVIE_ID).alias("offered_movies"))
        frames += [offered.withColumn("number", F.lit(number)) for number in range(len(tables))]
    return frames


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of `_measured`; empty if there is neither a list nor an entity."""
    return next((row for row in rows if row["listed"] is not None), {})


def _sql_findings(
    rows: Sequence[dict[str, Any]],
    table: RankedTable,
    settings: AuditSettings,
    beside: Beside,
    names: Names,
) -> list[Finding]:
    summary, findings = _summary(rows), []
    for i, check in enumerate(sql_checks()):
        given = settings.checks[check.name]
        if given.severity == "off" or table.name not in check.tables or not _is_made(check, table.name, beside):
            continue
        value, example = summary.get(f"value_{i}"), summary.get(f"example_{i}") or ""
        if check.of != "table":
            value, example = (
                value or 0.0,
                f"{names.column(table.direction.query_column)} {summary.get(f'example_{i}')}" if value else "",
            )
        findings.append(judge(check, given, table.name, value, example, names))
    return findings


def _is_made(check: Check, table: str, beside: Beside) -> bool:
    if check.name == "score_order" and table == RECOMMENDATIONS and beside.rules is not None:
        return beside.rules.by_score
    if check.only_with:
        return check.only_with in beside.features
    return beside.candidates is not None or not check.restricted_only


def _item_findings(
    rows: Sequence[dict[str, Any]], table: RankedTable, settings: AuditSettings, layout: EntityLayout, names: Names
) -> list[Finding]:
    """Coverage of the catalogue, and concentration on few users."""
    leads = [(row["leads"], row["items"]) for row in rows if row["leads"] is not None]
    distinct = sum(items for _, items in leads)
    offered = next((row["offered_movies"] for row in rows if row.get("offered_movies") is not None), None)
    offered = layout.count(table.direction.item_kind) if offered is None else offered
    attainable = min(offered, _summary(rows).get("listed") or 0)
    top = max(1, round(_TOP * layout.count(table.direction.item_kind)))
    measures = {
        "coverage": (distinct / attainable if attainable else None, f"{distinct:,} of {attainable:,}"),
        "concentration": (top_share(leads, top), f"{top:,} {names.users}"),
    }
    return [
        judge(check, settings.checks[check.name], table.name, *measures[check.name], names)
        for check in checks.CHECKS
        if check.name in measures and table.name in check.tables and settings.checks[check.name].severity != "off"
    ]


def top_share(leads: Sequence[tuple[int, int]], top: int) -> float | None:
    """The share of all lists that the `top` items lead that lead the most; None if there is no list.

    leads  pairs (lists that an item leads, number of such items)
    """
    total, held = sum(count * items for count, items in leads), 0
    for count, items in sorted(leads, reverse=True):
        taken = min(items, top)
        held, top = held + taken * count, top - taken
    return held / total if total else None


def _own_findings(rows: Sequence[dict[str, Any]], table: RankedTable, settings: AuditSettings) -> list[Finding]:
    """The share of bad rows of each check of `audit.own`."""
    summary, findings = _summary(rows), []
    for i, (name, given) in enumerate(settings.own.items()):
        if given.table != table.name or given.severity == "off":
            continue
        listed, bad = summary.get("listed") or 0, summary.get(f"own_{i}") or 0
        check = Check(name, f"no row with {given.where}", "", "measured", unit="of the rows are bad")
        findings.append(
            judge(check, given, table.name, bad / listed if listed else None, f"{bad:,} of {listed:,} rows")
        )
    return findings
