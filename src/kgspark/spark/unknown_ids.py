"""Ids in tables that should name a user or movie of the night: reading them, and counting those that name none."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.ids import id_text, read_id
from kgspark.tables import Columns


@dataclass(frozen=True)
class NamedIds:
    """The rows of a table, each with an id that should name a user or movie.

    key     dotted key of the setting that uses the ids
    table   name of the table
    kind    user or movie
    rows    with the ids in `column`, of any type
    """

    key: str
    table: str
    kind: str
    rows: DataFrame
    column: str


@dataclass(frozen=True)
class UnknownIds:
    """Number of rows whose id names no user or movie.

    example  one of these ids; None if they are all empty
    """

    key: str
    table: str
    kind: str
    rows: int
    unknown: int
    example: str | None

    def __str__(self) -> str:
        example = "an empty id" if self.example is None else repr(self.example)
        return (
            f"{self.key}: {self.unknown:,} of {self.rows:,} rows of {self.table} name no {self.kind}, such as {example}"
        )

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    def check(self, limit: float) -> None:
        """InputError if a larger fraction of the rows than `limit` names nothing."""
        if self.unknown / self.rows > limit:
            raise InputError(
                f"{self}; ids must be written as in the ratings; correct the table, or raise "
                f"source.tables.{self.table}.max_unknown_share (now {limit:g})"
            )


def id_column(rows: DataFrame, column: str, id_type: str, null_texts: Sequence[str]) -> Column:
    """A column of any type, read as an id by the rules of the ratings: null if it is none."""
    return read_id(id_text(F.col(column), rows.schema[column].dataType), id_type, null_texts)


def count_unknown(
    named: Sequence[NamedIds], entities: DataFrame, id_type: str, null_texts: Sequence[str]
) -> list[UnknownIds]:
    """Counts the ids without an entity, in one job; ids that all have one are left out of the result."""
    if not named:
        return []
    kinds = {of.kind for of in named}
    known = entities.where(F.col(Columns.KIND).isin(*kinds)).select(
        Columns.KIND, Columns.EXTERNAL_ID, F.lit(True).alias("known")
    )
    ids = reduce(DataFrame.unionAll, [_texts(of, number, id_type, null_texts) for number, of in enumerate(named)])
    counts = ids.join(known, on=[Columns.KIND, Columns.EXTERNAL_ID], how="left").groupBy("number")
    unknown = F.col("known").isNull()
    found = counts.agg(
        F.count("*").alias("rows"),
        F.count_if(unknown).alias("unknown"),
        F.min(F.when(unknown, F.col("text"))).alias("example"),
    )
    return [
        UnknownIds(of.key, of.table, of.kind, row["rows"], row["unknown"], row["example"])
        for row in found.where("unknown > 0").orderBy("number").collect()
        for of in [named[row["number"]]]
    ]


def _texts(of: NamedIds, number: int, id_type: str, null_texts: Sequence[str]) -> DataFrame:
    text = id_text(F.col(of.column), of.rows.schema[of.column].dataType)
    return of.rows.select(
        F.lit(number).alias("number"),
        F.lit(of.kind).alias(Columns.KIND),
        id_column(of.rows, of.column, id_type, null_texts).cast("string").alias(Columns.EXTERNAL_ID),
        F.nullif(text, F.lit("")).alias("text"),
    )
