"""The knowledge graph as triple shards: indices instead of ids, one row per (head, relation, tail) and split."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.errors import AuditError, ConfigError
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.spark.graph.derived import DERIVED
from kgspark.spark.graph.entities import index_of
from kgspark.spark.graph.relations import relation_rows
from kgspark.spark.graph.settings import RelationSettings
from kgspark.spark.unknown_ids import id_column
from kgspark.tables import CLEAN, KEYS, TEST, TRAIN, VALID, Columns

# In the order of their names, because shards are sorted by name.
_SPLITS = sorted((TRAIN, VALID, TEST))
_SPLIT_BITS, _RELATION_BITS = 2, 8
_TRIPLE = (Columns.HEAD, Columns.RELATION, Columns.TAIL, Columns.SPLIT)
_SORTED_BY = (Columns.RELATION, Columns.SPLIT, Columns.HEAD, Columns.TAIL)


def build_triples(
    relations: Mapping[str, RelationSettings],
    tables: Mapping[str, DataFrame],
    entities: DataFrame,
    id_type: str,
    null_texts: Sequence[str] = (),
) -> DataFrame:
    """head bigint, relation int, tail bigint, split string, weight float, timestamp as in the ratings. Lazy.

    Relations with the same pair of kinds share their joins with the entities, so a dozen small relations take no longer
    than one.

    relations   in index order
    tables      `ratings` has a split column; triples from tables without it are for training, and have no timestamp
    id_type     Spark type of user and movie ids
    null_texts  texts that stand for a missing id in the user's own tables
    """
    groups: dict[tuple[str, str] | None, list[DataFrame]] = {}
    repeated = set()
    for number, (name, relation) in enumerate(relations.items()):
        kinds = _typed_kinds(relation)
        rows = relation_rows(name, relation, tables[relation.table])
        groups.setdefault(kinds, []).append(_ends(rows, number, relation, id_type, null_texts))
        if not _has_unique_triples(relation):
            repeated.add(kinds)
    parts = []
    for kinds, frames in groups.items():
        triples = _indexed(reduce(DataFrame.unionByName, frames), kinds, entities, id_type)
        parts.append(_one_row_per_triple(triples) if kinds in repeated else triples)
    return reduce(DataFrame.unionByName, parts)


def _typed_kinds(relation: RelationSettings) -> tuple[str, str] | None:
    """Both kinds if they are users or movies, whose ids keep their type in the join; None if ids are joined as text."""
    kinds = relation.head.kind, relation.tail.kind
    return kinds if set(kinds) <= {USER, MOVIE} else None


def _ends(
    rows: DataFrame, number: int, relation: RelationSettings, id_type: str, null_texts: Sequence[str]
) -> DataFrame:
    columns = []
    # Cleaning has read the ids of its tables already.
    is_read = relation.table in CLEAN or relation.table in DERIVED
    for end, kind in ((Columns.HEAD, relation.head.kind), (Columns.TAIL, relation.tail.kind)):
        column = F.col(end)
        if kind in (USER, MOVIE) and not (is_read and dict(rows.dtypes)[end] == id_type):
            column = id_column(rows, end, id_type, null_texts)
        columns.append((column if _typed_kinds(relation) else column.cast("string")).alias(end))
        columns.append(F.lit(kind).alias(f"{end}_kind"))
    rated = Columns.SPLIT in rows.columns
    split = F.col(Columns.SPLIT) if rated else F.lit(TRAIN)
    timestamp = F.col(Columns.TIMESTAMP) if rated else F.lit(None).cast("bigint")
    return rows.select(
        *columns,
        F.lit(number).alias(Columns.RELATION),
        split.alias(Columns.SPLIT),
        Columns.WEIGHT,
        timestamp.alias(Columns.TIMESTAMP),
    )


def _indexed(rows: DataFrame, kinds: tuple[str, str] | None, entities: DataFrame, id_type: str) -> DataFrame:
    """Indices for the ids of `_ends`; a row with an unknown id is left out."""
    for number, end in enumerate((Columns.HEAD, Columns.TAIL)):
        if kinds is None:
            known = entities.select(
                F.col(Columns.KIND).alias(f"{end}_kind"),
                F.col(Columns.EXTERNAL_ID).alias(end),
                F.col(Columns.INDEX).alias(f"{end}_index"),
            )
            rows = rows.join(known, on=[f"{end}_kind", end], how="inner")
        else:
            known = index_of(entities, kinds[number], id_type, end, f"{end}_index")
            rows = rows.join(known, on=end, how="inner")
    head, tail = (F.col(f"{end}_index").alias(end) for end in (Columns.HEAD, Columns.TAIL))
    return rows.select(head, Columns.RELATION, tail, Columns.SPLIT, Columns.WEIGHT, Columns.TIMESTAMP)


def _has_unique_triples(relation: RelationSettings) -> bool:
    """True if the triple contains the table's key, so that no triple can occur twice."""
    if relation.explode is not None:
        return False
    key = DERIVED[relation.table].key if relation.table in DERIVED else KEYS.get(relation.table)
    return key is not None and set(key) <= {relation.head.column, relation.tail.column}


def _one_row_per_triple(triples: DataFrame) -> DataFrame:
    """One row for equal triples, with the largest weight and the latest time."""
    largest = [F.max(name).alias(name) for name in (Columns.WEIGHT, Columns.TIMESTAMP)]
    return triples.groupBy(*_TRIPLE).agg(*largest)


def sharded(triples: DataFrame, shards: int, entities: int) -> DataFrame:
    """Partition i holds the i-th shard, sorted; a triple's shard depends on its head alone. Lazy.

    entities  number of all entities, above every head and tail
    """
    shard = F.pmod(F.xxhash64(Columns.HEAD), F.lit(shards)).cast("int").alias("shard")
    bits = max(1, (entities - 1).bit_length())
    if 2 * bits + _SPLIT_BITS + _RELATION_BITS > 63:
        placed = triples.select("*", shard).repartitionById(shards, F.col("shard")).drop("shard")
        return placed.sortWithinPartitions(*_SORTED_BY)
    # One long with the same order as the four columns: Spark sorts it by radix, without comparing rows, and shuffles
    # less.
    others = [name for name in triples.columns if name not in _TRIPLE]
    placed = triples.select(_packed(bits).alias("key"), *others, shard)
    ordered = placed.repartitionById(shards, F.col("shard")).sortWithinPartitions("key")
    return ordered.select(*_unpacked(F.col("key"), bits), *others)


def _packed(bits: int) -> Column:
    """relation, split, head and tail in one long; the splits' numbers are in the order of their names."""
    name = F.col(Columns.SPLIT)
    split = F.when(name == _SPLITS[1], 1).when(name == _SPLITS[2], 2).otherwise(0)
    group = F.col(Columns.RELATION).cast("bigint") * (1 << _SPLIT_BITS) + split
    key = (group * (1 << bits) + F.col(Columns.HEAD)) * (1 << bits) + F.col(Columns.TAIL)
    # No part is ever null, but after joins and casts Spark does not know this, and would sort more slowly.
    return F.coalesce(key, F.lit(-1))


def _unpacked(key: Column, bits: int) -> list[Column]:
    """head, relation, tail and split of `_packed`."""
    mask = F.lit((1 << bits) - 1)
    split = F.shiftright(key, 2 * bits).bitwiseAND(F.lit((1 << _SPLIT_BITS) - 1))
    name = F.when(split == 1, _SPLITS[1]).when(split == 2, _SPLITS[2]).otherwise(_SPLITS[0])
    return [
        F.shiftright(key, bits).bitwiseAND(mask).alias(Columns.HEAD),
        F.shiftright(key, 2 * bits + _SPLIT_BITS).cast("int").alias(Columns.RELATION),
        key.bitwiseAND(mask).alias(Columns.TAIL),
        name.alias(Columns.SPLIT),
    ]


def count_triples(triples: DataFrame, relations: list[Relation], layout: EntityLayout) -> list[dict[str, Any]]:
    """Number of rows per relation and split, with the smallest and the largest head and tail.

    Raises ConfigError for a weight that cannot be used, AuditError if a head or tail is outside its kind's range.
    """
    weight = F.col(Columns.WEIGHT)
    usable = weight.isNotNull() & ~F.isnan(weight) & (weight >= 0) & (weight < math.inf)
    ends = (Columns.HEAD, Columns.TAIL)
    spans = triples.groupBy(Columns.RELATION, Columns.SPLIT).agg(
        F.count("*").alias("rows"),
        F.count_if(~usable).alias("bad_weights"),
        *[f(end).alias(f"{name}_{end}") for end in ends for name, f in (("min", F.min), ("max", F.max))],
    )
    counts = []
    for row in spans.orderBy(Columns.RELATION, Columns.SPLIT).collect():
        count = row.asDict()
        relation = relations[count.pop(Columns.RELATION)]
        _check_weights(relation, count.pop("bad_weights"))
        _check_ranges(relation, count, layout)
        counts.append({Columns.RELATION: relation.name, **count})
    return counts


def _check_weights(relation: Relation, bad: int) -> None:
    if bad:
        raise ConfigError(
            f"relations.{relation.name}.weight: {bad:,} triples get a weight that is empty, negative or not finite; "
            "expected numbers ≥ 0"
        )


def _check_ranges(relation: Relation, span: Mapping[str, Any], layout: EntityLayout) -> None:
    for end, kind in ((Columns.HEAD, relation.head_kind), (Columns.TAIL, relation.tail_kind)):
        start, stop = layout.range(kind)
        if span[f"min_{end}"] < start or span[f"max_{end}"] >= stop:
            raise AuditError(f"triples of {relation.name}: a {end} lies outside the range [{start}, {stop}) of {kind}")
