"""The facts about movies, as reasons name them, from the triples."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.spark.graph.entities import position_of
from kgspark.tables import Columns


def fact_relations(relations: Sequence[Relation]) -> list[Relation]:
    """The relations that tell facts about movies: to or from something else, and not derived from likes."""
    return [
        relation
        for relation in relations
        if not relation.of_likes
        and MOVIE in (relation.head_kind, relation.tail_kind)
        and USER not in (relation.head_kind, relation.tail_kind)
    ]


def movie_facts(
    triples: DataFrame, entities: DataFrame, layout: EntityLayout, relations: Sequence[Relation]
) -> DataFrame:
    """Each fact of each movie once: position, relation (its number), name, entity (an index), external_id. Lazy."""
    first = layout.range(MOVIE)[0]
    parts = []
    for relation in fact_relations(relations):
        ends = (Columns.HEAD, Columns.TAIL) if relation.head_kind == MOVIE else (Columns.TAIL, Columns.HEAD)
        parts.append(
            triples.where(F.col(Columns.RELATION) == relation.index).select(
                (F.col(ends[0]) - first).alias(Columns.POSITION),
                F.lit(relation.index).alias(Columns.RELATION),
                F.lit(relation.name).alias("name"),
                F.col(ends[1]).alias("entity"),
            )
        )
    if not parts:
        none = triples.where(F.lit(False)).select(F.col(Columns.HEAD).alias(Columns.POSITION), Columns.RELATION)
        parts = [none.withColumns({"name": F.lit(""), "entity": F.lit(0).cast("bigint")})]
    facts = reduce(DataFrame.unionAll, parts).distinct()
    named = entities.select(F.col(Columns.INDEX).alias("entity"), Columns.EXTERNAL_ID)
    return facts.join(named, on="entity", how="inner")


def movie_titles(entities: DataFrame, layout: EntityLayout, id_type: str, movies: DataFrame | None) -> DataFrame:
    """The title of each movie, or its id as text: position, title. Lazy."""
    known = position_of(entities, layout, MOVIE, id_type)
    text = F.col(Columns.MOVIE_ID).cast("string")
    if movies is None or Columns.TITLE not in movies.columns:
        return known.select(Columns.POSITION, text.alias(Columns.TITLE))
    named = known.join(movies.select(Columns.MOVIE_ID, Columns.TITLE), on=Columns.MOVIE_ID, how="left")
    return named.select(Columns.POSITION, F.coalesce(Columns.TITLE, text).alias(Columns.TITLE))
