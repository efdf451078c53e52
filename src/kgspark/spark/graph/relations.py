"""Relations declared in YAML, turned into rows of external ids by SQL expressions over tables."""

from collections.abc import Callable, Collection, Mapping
from functools import partial

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.errors import ConfigError
from kgspark.graph.layout import GENRE, MOVIE, USER
from kgspark.spark.settings import RelationSettings
from kgspark.tables import RATINGS

# Derived from training likes once the split is known, so it takes part in triples but names no new entity.
CO_WATCHED = "co_watched"
# A column of the ratings that weights may use: days before the latest training rating, known once the split is.
AGE_DAYS = "age_days"


def usable_relations(relations: Mapping[str, RelationSettings], tables: Collection[str]) -> dict[str, RelationSettings]:
    """The relations whose table is in the data; ConfigError for a missing one whose relation is not optional."""
    usable = {}
    for name, relation in relations.items():
        if relation.table in tables or relation.table == CO_WATCHED:
            usable[name] = relation
        elif not relation.optional:
            known = ", ".join([*tables, CO_WATCHED])
            raise ConfigError(f"relations.{name}.table: no table {relation.table!r} in this data; there are {known}")
    return usable


def kinds_in_order(relations: Mapping[str, RelationSettings]) -> list[str]:
    """Users, movies, genres, then further kinds in the order in which relations name them."""
    kinds = [USER, MOVIE, GENRE]
    for relation in relations.values():
        for end in (relation.head, relation.tail):
            if end.kind not in kinds:
                kinds.append(end.kind)
    return kinds


def relation_rows(name: str, relation: RelationSettings, table: DataFrame) -> DataFrame:
    """Rows `head`, `tail` (external ids as the table has them), `weight` float; of split ratings `split`, `timestamp`.

    Raises ConfigError with the dotted key of the expression that Spark cannot resolve.
    """
    key = f"relations.{name}"
    rows = table
    if relation.where is not None:
        rows = resolved(f"{key}.where", table, lambda: table.where(str(relation.where)))
    if relation.explode is not None:
        chosen = rows
        exploded = F.explode(F.col(relation.explode)).alias(relation.explode)
        others = [column for column in chosen.columns if column != relation.explode]
        rows = resolved(f"{key}.explode", chosen, lambda: chosen.select(*others, exploded))
    parts = {"head": relation.head.column, "tail": relation.tail.column, "weight": relation.weight}
    of_rating = ["split", "timestamp"] if relation.table == RATINGS and "split" in rows.columns else []
    try:
        columns = {part: F.expr(expression) for part, expression in parts.items()}
        columns["weight"] = columns["weight"].cast("float")
        ends = rows.select(*[column.alias(part) for part, column in columns.items()], *of_rating)
    except AnalysisException:
        for part, expression in parts.items():
            resolved(f"{key}.{part}", rows, partial(_selected, rows, expression))
        raise
    return ends.where((F.col("head").cast("string") != "") & (F.col("tail").cast("string") != ""))


def _selected(table: DataFrame, expression: str) -> DataFrame:
    return table.select(F.expr(expression))


def resolved(key: str, table: DataFrame, build: Callable[[], DataFrame]) -> DataFrame:
    """What `build` makes of `table`; ConfigError with the dotted key where Spark cannot resolve an expression."""
    try:
        return build()
    except AnalysisException as error:
        reason = str(error).strip().splitlines()[0].split(" SQLSTATE")[0]  # a syntax error begins with an empty line
        raise ConfigError(f"{key}: {reason}; the table has the columns {', '.join(table.columns)}") from None
