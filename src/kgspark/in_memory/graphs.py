"""The knowledge graph of clean tables: numbering, relations and triples as a night makes them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.errors import ConfigError
from kgspark.graph.graph import Graph
from kgspark.graph.layout import GENRE, MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import SPLITS
from kgspark.in_memory.co_watch import co_watched
from kgspark.in_memory.expressions import evaluate
from kgspark.in_memory.splits import age_days, split_ratings
from kgspark.in_memory.tables import CleanTables, numbers_of
from kgspark.night.settings import NightSettings
from kgspark.spark.graph.settings import RelationSettings, kinds_in_order
from kgspark.tables import CLEAN, CO_WATCHED, MOVIES, RATINGS, TRAIN, USERS, Columns

_TRAIN = SPLITS.index(TRAIN)


@dataclass(frozen=True)
class NumberedGraph:
    """A graph, and the external ids of its entities.

    ids  of each kind, in the order of their positions: int64 or string for users and movies, string for the others
    """

    graph: Graph
    ids: Mapping[str, pa.Array]


@dataclass(frozen=True)
class _Rows:
    """The rows of a relation: ids of both ends, weight float32, split int8, time int64 or float64 (n,) each."""

    heads: pa.Array
    tails: pa.Array
    weights: np.ndarray
    split: np.ndarray
    times: np.ndarray


def build_graph(clean: CleanTables, settings: NightSettings) -> NumberedGraph:
    """The graph of the relations whose tables are there; optional ones without their table are left out.

    Raises ConfigError for a relation that needs Spark, and for a weight that is negative or not finite.
    """
    relations = _usable(settings.relations, clean)
    target = settings.target
    numbers = numbers_of(clean.ratings)
    likes = _mask(f"relations.{settings.train.target}.where", target, numbers, len(clean.ratings))
    split = split_ratings(clean.ratings, settings.split, likes)
    if clean.has_times:
        numbers[Columns.AGE_DAYS] = age_days(clean.ratings[Columns.TIMESTAMP].to_numpy(), split)
    tables = dict(clean.tables)
    if any(relation.table == CO_WATCHED for relation in relations.values()):
        tables[CO_WATCHED] = co_watched(clean.ratings.filter(pa.array(likes & (split == _TRAIN))), settings.triples)
    rows = {name: _rows(name, relation, tables, numbers, split) for name, relation in relations.items()}
    ids = _numbered(tables, relations, rows)
    layout = EntityLayout.from_counts([(kind, len(ids[kind])) for kind in ids])
    named = [
        Relation(number, name, relation.head.kind, relation.tail.kind, relation.table == CO_WATCHED)
        for number, (name, relation) in enumerate(relations.items())
    ]
    parts = [_indexed(relation, rows[relation.name], ids, layout) for relation in named]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return NumberedGraph(Graph.from_columns(columns, layout, named, "interactions"), ids)


def _usable(relations: Mapping[str, RelationSettings], clean: CleanTables) -> dict[str, RelationSettings]:
    usable = {}
    for name, relation in relations.items():
        if relation.table in clean.tables or relation.table == CO_WATCHED:
            usable[name] = relation
        elif not relation.optional:
            what = "is not given" if relation.table in CLEAN else "needs a night, which reads tables of your own"
            raise ConfigError(f"relations.{name}.table: {relation.table} {what}; relations.{name}=null leaves it out")
    return usable


def _mask(key: str, relation: RelationSettings, numbers: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    if relation.where is None:
        return np.ones(rows, bool)
    return evaluate(key, relation.where, numbers, rows).astype(bool)


def _rows(
    name: str,
    relation: RelationSettings,
    tables: Mapping[str, pa.Table],
    of_ratings: Mapping[str, np.ndarray],
    split: np.ndarray,
) -> _Rows:
    table, rated = tables[relation.table], relation.table == RATINGS
    numbers = of_ratings if rated else numbers_of(table)
    weights = evaluate(f"relations.{name}.weight", relation.weight, numbers, len(table)).astype(np.float32)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ConfigError(f"relations.{name}.weight: expected numbers ≥ 0, found one that is negative or not finite")
    at = np.flatnonzero(_mask(f"relations.{name}.where", relation, numbers, len(table)))
    ends = [_column(f"relations.{name}.{end}", table, getattr(relation, end).column) for end in ("head", "tail")]
    ends = [column.take(pa.array(at)) for column in ends]
    if relation.explode is not None:
        exploded = _column(f"relations.{name}.explode", table, relation.explode).take(pa.array(at))
        if not pa.types.is_list(exploded.type):
            raise ConfigError(f"relations.{name}.explode: {relation.explode} is no list")
        parents = pc.list_parent_indices(exploded)
        ends = [
            pc.list_flatten(column) if getattr(relation, end).column == relation.explode else column.take(parents)
            for end, column in zip(("head", "tail"), ends, strict=True)
        ]
        at = at[parents.to_numpy()]
    times = of_ratings.get(Columns.TIMESTAMP) if rated else None
    times = tables[RATINGS][Columns.TIMESTAMP].to_numpy()[at] if times is not None else np.zeros(len(at), np.int64)
    heads, tails = ends
    return _Rows(heads, tails, weights[at], split[at] if rated else np.full(len(at), _TRAIN, np.int8), times)


def _column(key: str, table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise ConfigError(
            f"{key}: {name!r} is no column; without Spark, expected one of {', '.join(table.column_names)}; a night "
            "reads all of Spark's SQL"
        )
    return table[name].combine_chunks()


def _numbered(
    tables: Mapping[str, pa.Table], relations: Mapping[str, RelationSettings], rows: Mapping[str, _Rows]
) -> dict[str, pa.Array]:
    """The ids of each kind, sorted: numbers by value, texts by their bytes."""
    found: dict[str, list[pa.Array]] = {kind: [] for kind in kinds_in_order(relations)}
    for kind, key, others in ((USER, Columns.USER_ID, USERS), (MOVIE, Columns.MOVIE_ID, MOVIES)):
        found[kind] = [tables[name][key].combine_chunks() for name in (RATINGS, others) if name in tables]
    if MOVIES in tables:
        found[GENRE].append(pc.list_flatten(tables[MOVIES][Columns.GENRES].combine_chunks()))
    for name, relation in relations.items():
        for end, ids in ((relation.head, rows[name].heads), (relation.tail, rows[name].tails)):
            if end.kind not in (USER, MOVIE):
                found[end.kind].append(ids.cast(pa.string()))
    return {kind: _sorted(parts) for kind, parts in found.items()}


def _sorted(parts: list[pa.Array]) -> pa.Array:
    if not parts:
        return pa.array([], pa.string())
    ids = pc.unique(pa.concat_arrays(parts)).drop_null()
    if pa.types.is_string(ids.type):
        ids = ids.filter(pc.not_equal(ids, ""))
    return ids.take(pc.sort_indices(ids))


def _indexed(
    relation: Relation, rows: _Rows, ids: Mapping[str, pa.Array], layout: EntityLayout
) -> dict[str, np.ndarray]:
    """The triples of a relation, each once, with the largest weight and the latest time; unknown ids are left out."""
    heads, tails = (_indices(column, ids[kind]) for column, kind in (
        (rows.heads, relation.head_kind), (rows.tails, relation.tail_kind)
    ))  # fmt: skip
    known = np.flatnonzero((heads >= 0) & (tails >= 0))
    order = known[np.lexsort((rows.split[known], tails[known], heads[known]))]
    key = np.stack([heads[order], tails[order], rows.split[order]])
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(key, axis=1) != 0).any(axis=0)
    starts = np.flatnonzero(first)
    largest = [np.maximum.reduceat(of[order], starts) if len(starts) else of[:0] for of in (rows.weights, rows.times)]
    kept = order[first]
    return {
        Columns.HEAD: heads[kept] + layout.range(relation.head_kind)[0],
        Columns.RELATION: np.full(len(kept), relation.index, np.int32),
        Columns.TAIL: tails[kept] + layout.range(relation.tail_kind)[0],
        Columns.SPLIT: rows.split[kept],
        Columns.WEIGHT: largest[0],
        Columns.TIMESTAMP: largest[1],
    }


def _indices(column: pa.Array, ids: pa.Array) -> np.ndarray:
    found = pc.index_in(column.cast(ids.type), value_set=ids)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
