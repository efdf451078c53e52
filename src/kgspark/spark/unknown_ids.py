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
    """Number of rows whose id names no user or movie; or a table without rows.

    kind     the word for it in the message
    example  one of these ids; None if they are all empty
    """

    key: str
    table: str
    kind: str
    rows: int
    unknown: int
    example: str | None

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.key}: no row of {self.table}"
        example = "an empty id" if self.example is None else repr(self.example)
        return (
            f"{self.key}: {self.unknown:,} of {self.rows:,} rows of {self.table} name no {self.kind}, such as {example}"
        )

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    def check(self, limit: float | None) -> None:
        """InputError if this fraction of the rows, or more, names nothing."""
        if limit is not None and self.unknown and self.unknown / self.rows >= limit:
            raise InputError(
                f"{self}; correct its ids, which must be those of the ratings, or set "
                f"source.tables.{self.table}.stop_at_unknown_share (now {limit:g})"
            )


def id_column(rows: DataFrame, column: str, id_type: str, null_texts: Sequence[str]) -> Column:
    """A column of any type, read as an id by the rules of the ratings: null if it is none."""
    return read_id(id_text(F.col(column), rows.schema[column].dataType), id_type, null_texts)


def count_unknown(
    named: Sequence[NamedIds], entities: DataFrame, id_type: str, null_texts: Sequence[str]
) -> list[UnknownIds]:
    """Counts the ids without an entity, in one job; tables whose ids all have one are left out of the result."""
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
    counted = {row["number"]: (row["rows"], row["unknown"], row["example"]) for row in found.collect()}
    results = [
        UnknownIds(of.key, of.table, of.kind, *counted.get(number, (0, 0, None))) for number, of in enumerate(named)
    ]
    return [ids for ids in results if ids.unknown or not ids.rows]


def _texts(of: NamedIds, number: int, id_type: str, null_texts: Sequence[str]) -> DataFrame:
    text = id_text(F.col(of.column), of.rows.schema[of.column].dataType)
    return of.rows.select(
        F.lit(number).alias("number"),
        F.lit(of.kind).alias(Columns.KIND),
        id_column(of.rows, of.column, id_type, null_texts).cast("string").alias(Columns.EXTERNAL_ID),
        F.nullif(text, F.lit("")).alias("text"),
    )
