"""Relations as the settings declare them, turned into rows of external ids by SQL expressions over tables."""

from collections.abc import Callable, Collection, Mapping
from functools import partial

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.errors import ConfigError
from kgspark.graph.layout import MOVIE, USER
from kgspark.spark.graph.derived import DERIVED
from kgspark.spark.graph.settings import RelationSettings
from kgspark.spark.sql_safety import first_line
from kgspark.spark.unknown_ids import NamedIds
from kgspark.tables import CLEAN, RATINGS, Columns


def usable_relations(relations: Mapping[str, RelationSettings], tables: Collection[str]) -> dict[str, RelationSettings]:
    """The relations whose table is in the data or derived; optional relations without their table are left out.

    Raises ConfigError for another relation whose table is missing.
    """
    usable = {}
    for name, relation in relations.items():
        if relation.table in tables or relation.table in DERIVED:
            usable[name] = relation
        elif not relation.optional:
            known = ", ".join([*tables, *DERIVED])
            raise ConfigError(
                f"relations.{name}.table: no table {relation.table!r} in this data; there are {known}; set "
                f"relations.{name}=null to remove the relation, or relations.{name}.optional=true"
            )
    return usable


def left_out(relations: Mapping[str, RelationSettings], tables: Collection[str]) -> dict[str, list[str]]:
    """The optional relations whose table is not in the data, by that table."""
    missing: dict[str, list[str]] = {}
    for name, relation in relations.items():
        if relation.table not in tables and relation.table not in DERIVED:
            missing.setdefault(relation.table, []).append(name)
    return missing


def relation_rows(name: str, relation: RelationSettings, table: DataFrame) -> DataFrame:
    """The `relation_ends` that are both given. Lazy."""
    ends = relation_ends(name, relation, table)
    return ends.where((F.col(Columns.HEAD).cast("string") != "") & (F.col(Columns.TAIL).cast("string") != ""))


def relation_ends(name: str, relation: RelationSettings, table: DataFrame) -> DataFrame:
    """`head`, `tail` (external ids of the table), `weight` float; for split ratings also `split`, `timestamp`. Lazy.

    Raises ConfigError with the dotted key of the expression that Spark cannot resolve.
    """
    rows = _explode(name, relation, matching_rows(name, relation, table))
    parts = {
        Columns.HEAD: relation.head.column,
        Columns.TAIL: relation.tail.column,
        Columns.WEIGHT: relation.weight,
    }
    is_split = relation.table == RATINGS and Columns.SPLIT in rows.columns
    try:
        columns = {part: F.expr(expression) for part, expression in parts.items()}
        columns[Columns.WEIGHT] = columns[Columns.WEIGHT].cast("float")
        of_rating = (Columns.SPLIT, Columns.TIMESTAMP) if is_split else ()
        return rows.select(*[column.alias(part) for part, column in columns.items()], *of_rating)
    except AnalysisException:  # one plan for all expressions is faster; if it fails, each is tried alone
        for part, expression in parts.items():
            resolve(f"relations.{name}.{part}", rows, partial(_select, rows, expression))
        raise


def matching_rows(name: str, relation: RelationSettings, table: DataFrame) -> DataFrame:
    """The rows that fulfil the relation's condition; ConfigError if Spark cannot resolve it. Lazy."""
    where = relation.where
    return table if where is None else resolve(f"relations.{name}.where", table, lambda: table.where(where))


def ids_in_relations(relations: Mapping[str, RelationSettings], tables: Mapping[str, DataFrame]) -> list[NamedIds]:
    """The ids of users and movies in the user's own tables. Lazy.

    Those of the clean tables, and so of the derived ones, come from one data set, and have entities.
    """
    named = []
    for name, relation in relations.items():
        if relation.table in CLEAN or relation.table in DERIVED:
            continue
        rows = relation_ends(name, relation, tables[relation.table])
        for end, kind in ((Columns.HEAD, relation.head.kind), (Columns.TAIL, relation.tail.kind)):
            if kind in (USER, MOVIE):
                named.append(NamedIds(f"relations.{name}.{end}", relation.table, kind, rows, end))
    return named


def _explode(name: str, relation: RelationSettings, rows: DataFrame) -> DataFrame:
    """One row per element of the array column that the relation explodes; all rows if it explodes none."""
    column = relation.explode
    if column is None:
        return rows
    others = [other for other in rows.columns if other != column]
    exploded = F.explode(F.col(column)).alias(column)
    return resolve(f"relations.{name}.explode", rows, lambda: rows.select(*others, exploded))


def _select(table: DataFrame, expression: str) -> DataFrame:
    return table.select(F.expr(expression))


def resolve(key: str, table: DataFrame, build: Callable[[], DataFrame]) -> DataFrame:
    """Calls `build`, which makes a frame of `table`; ConfigError with the dotted key if Spark cannot resolve it."""
    try:
        return build()
    except AnalysisException as error:
        raise ConfigError(f"{key}: {first_line(error)}; the table has the columns {', '.join(table.columns)}") from None
