"""Contiguous numbering of every entity. It does not depend on partitions or on the order of the input."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.files import DataFile
from kgspark.graph.layout import GENRE, MOVIE, USER, EntityLayout
from kgspark.spark.graph.derived import DERIVED
from kgspark.spark.graph.relations import relation_rows
from kgspark.spark.graph.settings import RelationSettings
from kgspark.tables import MOVIES, RATINGS, USERS, Columns


def members(
    tables: Mapping[str, DataFrame], relations: Mapping[str, RelationSettings], kinds: Sequence[str]
) -> DataFrame:
    """Every entity once: `kind_order` int, `external_id` string. Lazy.

    Users and movies come from their tables and from the ratings, so that those without a like have an index too; other
    kinds come from the relations.
    """
    sources = [
        *_rated_members(tables, kinds),
        *_side_table_members(tables, kinds),
        *_relation_members(tables, relations, kinds),
    ]
    return reduce(DataFrame.unionByName, sources).distinct()


def _rated_members(tables: Mapping[str, DataFrame], kinds: Sequence[str]) -> Iterator[DataFrame]:
    for key, kind in ((Columns.USER_ID, USER), (Columns.MOVIE_ID, MOVIE)):
        rated = tables[RATINGS].select(key).distinct()  # before the cast to text, because numbers are hashed faster
        yield _ids(rated, F.col(key), kinds.index(kind))


def _side_table_members(tables: Mapping[str, DataFrame], kinds: Sequence[str]) -> Iterator[DataFrame]:
    if USERS in tables:
        yield _ids(tables[USERS], F.col(Columns.USER_ID), kinds.index(USER))
    if MOVIES in tables:
        yield _ids(tables[MOVIES], F.col(Columns.MOVIE_ID), kinds.index(MOVIE))
        yield _ids(tables[MOVIES], F.explode(Columns.GENRES), kinds.index(GENRE))


def _relation_members(
    tables: Mapping[str, DataFrame], relations: Mapping[str, RelationSettings], kinds: Sequence[str]
) -> Iterator[DataFrame]:
    """Members of further kinds.

    A user or movie that occurs only in the table of a relation gets no index: there is nothing to recommend to it or
    from it. Derived tables add no entity.
    """
    # `age_days` is known once there is a split. It only affects weights; any value will do here.
    tables = {**tables, RATINGS: tables[RATINGS].withColumn(Columns.AGE_DAYS, F.lit(0.0))}
    for name, relation in relations.items():
        if relation.table in DERIVED:
            continue
        rows = relation_rows(name, relation, tables[relation.table])
        for end, kind in ((Columns.HEAD, relation.head.kind), (Columns.TAIL, relation.tail.kind)):
            if kind not in (USER, MOVIE):
                yield _ids(rows, F.col(end), kinds.index(kind))


def _ids(table: DataFrame, column: Column, kind_order: int) -> DataFrame:
    named = table.select(column.alias("id"))
    ids = named.select(F.lit(kind_order).alias("kind_order"), F.col("id").cast("string").alias(Columns.EXTERNAL_ID))
    return ids.where(F.col(Columns.EXTERNAL_ID) != "")


def sorted_members(entities: DataFrame, integer_kinds: Sequence[int]) -> DataFrame:
    """Sorted by kind, then by id: as a number in `integer_kinds`, else by its bytes. Lazy."""
    number = F.when(F.col("kind_order").isin(*integer_kinds), F.col(Columns.EXTERNAL_ID).try_cast("bigint"))
    return entities.orderBy("kind_order", number.asc_nulls_last(), Columns.EXTERNAL_ID)


def number_sorted(in_order: DataFrame, files: Sequence[DataFile], kinds: Sequence[str]) -> DataFrame:
    """The entities table (index, kind, external_id) from `sorted_members`, written to `files` and read again. Lazy.

    An entity's index is its row number in the files, taken in order. The rows are numbered from disk and not from the
    plan that sorted them, because Spark may choose other partition bounds when it computes that plan again.
    """
    offset, offsets = 0, []
    for file in files:
        offsets += [F.lit(file.name), F.lit(offset).cast("bigint")]
        offset += file.rows or 0
    start = F.element_at(F.create_map(*offsets), F.col("_metadata.file_name"))
    names = F.array(*[F.lit(kind) for kind in kinds])
    return in_order.select(
        (start + F.col("_metadata.row_index")).alias(Columns.INDEX),
        F.element_at(names, F.col("kind_order") + 1).alias(Columns.KIND),
        Columns.EXTERNAL_ID,
    )


def count_kinds(entities: DataFrame, kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Number of entities per kind, in index order; kinds without entities count 0."""
    found = {row[Columns.KIND]: row["count"] for row in entities.groupBy(Columns.KIND).count().collect()}
    return [(kind, found.get(kind, 0)) for kind in kinds]


def index_of(entities: DataFrame, kind: str, id_type: str, id_name: str, index_name: str) -> DataFrame:
    """The map from external id (as `id_name`, of `id_type`) to index (as `index_name`) of one kind. Lazy."""
    return entities.where(F.col(Columns.KIND) == kind).select(
        F.col(Columns.EXTERNAL_ID).try_cast(id_type).alias(id_name), F.col(Columns.INDEX).alias(index_name)
    )


def position_of(entities: DataFrame, layout: EntityLayout, kind: str, id_type: str) -> DataFrame:
    """The map from external id (`user_id` or `movie_id`, of `id_type`) to `position` inside the kind, to join with."""
    known = index_of(entities, kind, id_type, f"{kind}_id", Columns.POSITION)
    return known.withColumn(Columns.POSITION, F.col(Columns.POSITION) - layout.range(kind)[0])
