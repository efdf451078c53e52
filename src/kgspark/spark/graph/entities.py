"""Contiguous numbering of every entity, the same for any partitioning and any order of the input."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.files import DataFile
from kgspark.graph.layout import GENRE, MOVIE, USER, EntityLayout
from kgspark.spark.graph.relations import AGE_DAYS, CO_WATCHED, relation_rows
from kgspark.spark.settings import RelationSettings
from kgspark.tables import MOVIES, RATINGS, USERS


def members(
    tables: Mapping[str, DataFrame], relations: Mapping[str, RelationSettings], kinds: Sequence[str]
) -> DataFrame:
    """Every entity once: `kind_order` int, `external_id` string.

    Users and movies come from their own tables and from the ratings, so those without a like have an index too;
    other kinds are what the relations name.
    """
    # A number is hashed faster than its text, and of ratings there are many.
    rated = {key: tables[RATINGS].select(key).distinct() for key in ("user_id", "movie_id")}
    sources = [_ids(rated["user_id"], F.col("user_id"), kinds.index(USER))]
    sources.append(_ids(rated["movie_id"], F.col("movie_id"), kinds.index(MOVIE)))
    if USERS in tables:
        sources.append(_ids(tables[USERS], F.col("user_id"), kinds.index(USER)))
    if MOVIES in tables:
        sources.append(_ids(tables[MOVIES], F.col("movie_id"), kinds.index(MOVIE)))
        sources.append(_ids(tables[MOVIES], F.explode("genres"), kinds.index(GENRE)))
    # An age is known once the split is, and changes a weight, never who there is.
    named = {**tables, RATINGS: tables[RATINGS].withColumn(AGE_DAYS, F.lit(0.0))}
    for name, relation in relations.items():
        if relation.table == CO_WATCHED:
            continue
        ends = {"head": relation.head.kind, "tail": relation.tail.kind}
        rows = relation_rows(name, relation, named[relation.table])
        # A user or movie that only a side table names is no entity: nothing could be said of it or to it.
        sources += [
            _ids(rows, F.col(end), kinds.index(kind)) for end, kind in ends.items() if kind not in (USER, MOVIE)
        ]
    return reduce(DataFrame.unionByName, sources).distinct()


def _ids(table: DataFrame, column: Column, kind_order: int) -> DataFrame:
    named = table.select(column.alias("id"))
    ids = named.select(F.lit(kind_order).alias("kind_order"), F.col("id").cast("string").alias("external_id"))
    return ids.where(F.col("external_id").isNotNull() & (F.col("external_id") != ""))


def sorted_members(entities: DataFrame, integer_kinds: Sequence[int]) -> DataFrame:
    """Sorted by kind, then by id: as a number in `integer_kinds`, else by its bytes."""
    number = F.when(F.col("kind_order").isin(*integer_kinds), F.col("external_id").try_cast("bigint"))
    return entities.orderBy("kind_order", number.asc_nulls_last(), "external_id")


def number_sorted(in_order: DataFrame, files: Sequence[DataFile], kinds: Sequence[str]) -> DataFrame:
    """The entities table (index, kind, external_id) from `sorted_members`, written to `files` and read again.

    An entity's index is its position in the files, taken in order. The sorted rows are numbered from disk and not from
    the plan that sorted them, because Spark may choose other partition bounds when it computes that plan again.
    """
    offset, offsets = 0, []
    for file in files:
        offsets += [F.lit(file.name), F.lit(offset).cast("bigint")]
        offset += file.rows or 0
    start = F.element_at(F.create_map(*offsets), F.col("_metadata.file_name"))
    names = F.array(*[F.lit(kind) for kind in kinds])
    return in_order.select(
        (start + F.col("_metadata.row_index")).alias("index"),
        F.element_at(names, F.col("kind_order") + 1).alias("kind"),
        "external_id",
    )


def kind_counts(entities: DataFrame, kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Number of entities a kind, in index order; kinds without entities count 0."""
    found = {row["kind"]: row["count"] for row in entities.groupBy("kind").count().collect()}
    return [(kind, found.get(kind, 0)) for kind in kinds]


def index_of(entities: DataFrame, kind: str, id_type: str, id_name: str, index_name: str) -> DataFrame:
    """The map from external id (as `id_name`, of `id_type`) to index (as `index_name`) of one kind, to join with."""
    return entities.where(F.col("kind") == kind).select(
        F.col("external_id").try_cast(id_type).alias(id_name), F.col("index").alias(index_name)
    )


def position_of(entities: DataFrame, layout: EntityLayout, kind: str, id_type: str) -> DataFrame:
    """The map from external id (`user_id` or `movie_id`, of `id_type`) to `position` inside the kind, to join with."""
    known = index_of(entities, kind, id_type, f"{kind}_id", "position")
    return known.withColumn("position", F.col("position") - layout.range(kind)[0])
