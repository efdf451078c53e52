"""The knowledge graph as triple shards: indices instead of ids, one row a (head, relation, tail)."""

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.errors import AuditError, ConfigError
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.spark.graph.entities import index_of
from kgspark.spark.graph.relations import CO_WATCHED, relation_rows
from kgspark.spark.settings import RelationSettings
from kgspark.tables import MOVIES, RATINGS, TEST, TRAIN, USERS, VALID

# As they sort.
_SPLITS = sorted((TRAIN, VALID, TEST))
_SPLIT_BITS, _RELATION_BITS = 2, 8


def build_triples(
    relations: Mapping[str, RelationSettings],
    tables: Mapping[str, DataFrame],
    entities: DataFrame,
    id_type: str,
) -> DataFrame:
    """head bigint, relation int, tail bigint, split string, weight float, timestamp bigint, of all relations.

    relations  in index order
    tables     `ratings` with a split column; triples from tables without one are for training, and have no timestamp
    id_type    Spark type of user and movie ids
    """
    groups: dict[tuple[str, str] | None, list[DataFrame]] = {}
    repeated = set()
    for number, (name, relation) in enumerate(relations.items()):
        kinds = _typed_kinds(relation)
        rows = relation_rows(name, relation, tables[relation.table])
        groups.setdefault(kinds, []).append(_ends(rows, number, relation, id_type))
        if not _has_one_row_a_triple(relation):
            repeated.add(kinds)
    parts = []
    for kinds, frames in groups.items():
        triples = _indexed(reduce(DataFrame.unionByName, frames), kinds, entities, id_type)
        if kinds in repeated:
            largest = [F.max(name).alias(name) for name in ("weight", "timestamp")]
            triples = triples.groupBy("head", "relation", "tail", "split").agg(*largest)
        parts.append(triples)
    return reduce(DataFrame.unionByName, parts)


def _typed_kinds(relation: RelationSettings) -> tuple[str, str] | None:
    """Both kinds where they are users or movies, which are joined by their own ids; None for those joined by text.

    Relations of one answer are joined with the entities together, so that a dozen small ones cost what one does.
    """
    kinds = relation.head.kind, relation.tail.kind
    return kinds if set(kinds) <= {USER, MOVIE} else None


def _ends(rows: DataFrame, number: int, relation: RelationSettings, id_type: str) -> DataFrame:
    columns = []
    for end, kind in (("head", relation.head.kind), ("tail", relation.tail.kind)):
        column = F.col(end).try_cast(id_type if kind in (USER, MOVIE) else "string")
        columns.append((column if _typed_kinds(relation) else column.cast("string")).alias(end))
        columns.append(F.lit(kind).alias(f"{end}_kind"))
    rated = "split" in rows.columns
    split = F.col("split") if rated else F.lit(TRAIN)
    timestamp = F.col("timestamp") if rated else F.lit(None).cast("bigint")
    return rows.select(
        *columns, F.lit(number).alias("relation"), split.alias("split"), "weight", timestamp.alias("timestamp")
    )


def _indexed(rows: DataFrame, kinds: tuple[str, str] | None, entities: DataFrame, id_type: str) -> DataFrame:
    """Indices for the ids of `_ends`; a row that names no entity is left out."""
    for place, end in enumerate(("head", "tail")):
        if kinds is None:
            of_kind = F.col("kind").alias(f"{end}_kind")
            known = entities.select(of_kind, F.col("external_id").alias(end), F.col("index").alias(f"{end}_index"))
            rows = rows.join(known, on=[f"{end}_kind", end], how="inner")
        else:
            known = index_of(entities, kinds[place], id_type, end, f"{end}_index")
            rows = rows.join(known, on=end, how="inner")
    ends = [F.col(f"{end}_index").alias(end) for end in ("head", "tail")]
    return rows.select(ends[0], "relation", ends[1], "split", "weight", "timestamp")


def _has_one_row_a_triple(relation: RelationSettings) -> bool:
    """Whether the clean table's key is in the triple: no need to look for repetitions then."""
    if relation.explode is not None:
        return False
    key = {
        RATINGS: {"user_id", "movie_id"},
        MOVIES: {"movie_id"},
        USERS: {"user_id"},
        CO_WATCHED: {"movie_id", "other_movie_id"},
    }.get(relation.table)
    return key is not None and key <= {relation.head.column, relation.tail.column}


def sharded(triples: DataFrame, shards: int, entities: int) -> DataFrame:
    """Partition i holds the i-th shard, sorted; a triple's shard depends on its head alone.

    entities  number of all entities, above every head and tail
    """
    shard = F.pmod(F.xxhash64("head"), F.lit(shards)).cast("int").alias("shard")
    bits = max(1, (entities - 1).bit_length())
    if 2 * bits + _SPLIT_BITS + _RELATION_BITS > 63:
        placed = triples.select("*", shard).repartitionById(shards, F.col("shard")).drop("shard")
        return placed.sortWithinPartitions("relation", "split", "head", "tail")
    # One long that sorts as the four columns do: Spark sorts it by radix, without comparing rows, and shuffles less.
    others = [name for name in triples.columns if name not in ("head", "relation", "tail", "split")]
    placed = triples.select(_packed(bits).alias("key"), *others, shard)
    ordered = placed.repartitionById(shards, F.col("shard")).sortWithinPartitions("key")
    return ordered.select(*_unpacked(F.col("key"), bits), *others)


def _packed(bits: int) -> Column:
    """relation, split, head and tail in one long; the splits' numbers are in the order of their names."""
    split = F.when(F.col("split") == _SPLITS[1], 1).when(F.col("split") == _SPLITS[2], 2).otherwise(0)
    kind = F.col("relation").cast("bigint") * (1 << _SPLIT_BITS) + split
    # Never null, which no column says of itself that went through a join or a cast.
    return F.coalesce((kind * (1 << bits) + F.col("head")) * (1 << bits) + F.col("tail"), F.lit(-1))


def _unpacked(key: Column, bits: int) -> list[Column]:
    """head, relation, tail and split of `_packed`."""
    mask = F.lit((1 << bits) - 1)
    split = F.shiftright(key, 2 * bits).bitwiseAND(F.lit((1 << _SPLIT_BITS) - 1))
    name = F.when(split == 1, _SPLITS[1]).when(split == 2, _SPLITS[2]).otherwise(_SPLITS[0])
    return [
        F.shiftright(key, bits).bitwiseAND(mask).alias("head"),
        F.shiftright(key, 2 * bits + _SPLIT_BITS).cast("int").alias("relation"),
        key.bitwiseAND(mask).alias("tail"),
        name.alias("split"),
    ]


def count_triples(triples: DataFrame, relations: list[Relation], layout: EntityLayout) -> list[dict[str, Any]]:
    """Rows a relation and split, with the ranges that heads and tails span.

    Raises ConfigError for a weight that cannot be used, AuditError when an end lies outside its kind's range.
    """
    usable = F.col("weight").isNotNull() & ~F.isnan("weight") & (F.col("weight") >= 0) & (F.col("weight") < math.inf)
    spans = triples.groupBy("relation", "split").agg(
        F.count("*").alias("rows"),
        F.count_if(~usable).alias("bad_weights"),
        *[f(end).alias(f"{name}_{end}") for end in ("head", "tail") for name, f in (("min", F.min), ("max", F.max))],
    )
    counts = []
    for row in spans.orderBy("relation", "split").collect():
        relation = relations[row["relation"]]
        if row["bad_weights"]:
            raise ConfigError(
                f"relations.{relation.name}.weight: {row['bad_weights']:,} triples get a weight that is empty, "
                "negative or not finite; expected numbers ≥ 0"
            )
        for end, kind in (("head", relation.head_kind), ("tail", relation.tail_kind)):
            start, stop = layout.range(kind)
            if row[f"min_{end}"] < start or row[f"max_{end}"] >= stop:
                raise AuditError(
                    f"triples of {relation.name}: a {end} lies outside the range [{start}, {stop}) of {kind}"
                )
        counts.append(
            {
                "relation": relation.name,
                **{key: row[key] for key in row.asDict() if key not in ("relation", "bad_weights")},
            }
        )
    return counts
