"""The checks that see every row of a table of vectors, in one pass on Spark. A vector is a list of one row."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.spark.ranking.audit.checks import CHECKS, Check
from kgspark.spark.ranking.audit.counts import NightFacts, broken_bits, known_ids, union, with_our_names
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.lists import Beside, measures
from kgspark.spark.ranking.audit.settings import AuditSettings


@dataclass(frozen=True)
class VectorTable:
    """A table of vectors.

    rows       with the names of the files
    kind       of the entities that have the vectors
    dimension  length of every vector
    """

    name: str
    rows: DataFrame
    kind: str
    dimension: int


def audit_vectors(table: VectorTable, night: NightFacts, beside: Beside, settings: AuditSettings) -> list[Finding]:
    """The findings of a table: each entity of the kind has one vector, and every row is as it should be."""
    chosen = [
        check
        for check in CHECKS
        if table.name in check.tables and check.of != "measured" and settings.checks[check.name].severity != "off"
    ]
    if not chosen:
        return []
    measured = _counts(table, night, beside, chosen).agg(*measures(chosen)).collect()[0].asDict()
    findings = []
    for i, check in enumerate(chosen):
        value, example = measured[f"value_{i}"], measured[f"example_{i}"]
        if check.of != "table":
            value, example = value or 0.0, f"{night.names.column(f'{table.kind}_id')} {example}" if value else ""
        findings.append(judge(check, settings.checks[check.name], table.name, value, example or "", night.names))
    return findings


def _counts(table: VectorTable, night: NightFacts, beside: Beside, chosen: list[Check]) -> DataFrame:
    """One row per id: `known_query`, 1 for an entity; `listed`, its rows; `due`, those it should have; `broken`."""
    facts = {"night": night.ds, "night_model": night.model_id, "dimension": table.dimension}
    rows = with_our_names(table.rows, night.names, **{name: F.lit(value) for name, value in facts.items()})
    column = f"{table.kind}_id"
    written = rows.select(
        F.col(column).alias("query"), broken_bits(chosen, "row").alias("broken"), F.lit(1).alias("listed")
    )
    known = known_ids([0], beside.entities, table.kind, beside.id_type, "query").select(
        "query", F.lit(1).alias("known_query")
    )
    return (
        union([written, known])
        .groupBy("query")
        .agg(
            F.coalesce(F.bit_or("broken"), F.lit(0)).alias("broken"),
            F.coalesce(F.sum("listed"), F.lit(0)).alias("listed"),
            F.coalesce(F.sum("known_query"), F.lit(0)).alias("known_query"),
        )
        .withColumn("due", F.col("known_query"))
    )
