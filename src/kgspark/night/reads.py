"""Reads a night: the results of its earlier stages, the user's own tables, and the locations of published tables."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from kgspark.errors import ConfigError, KgsparkError, StageError
from kgspark.graph.graph import Graph
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.shards import read_graph
from kgspark.night.night import Night
from kgspark.search_space import ITEMS, QUERIES, Side
from kgspark.spark.frames import DataFrame, read_table
from kgspark.spark.graph.derived import DERIVED
from kgspark.spark.own_tables import RefusedLines, count_refused, own_signature, read_own_table
from kgspark.spark.ranking.candidates import Candidates
from kgspark.spark.ranking.executors import Direction
from kgspark.spark.unknown_ids import NamedIds, UnknownIds, count_unknown
from kgspark.tables import (
    AUDIENCES,
    AVERAGE,
    CANDIDATES,
    CLEAN,
    ENTITIES,
    MODEL,
    RANKED_WITH,
    RATINGS,
    RECOMMENDATIONS,
    RULES,
    SEARCH_SPACE,
    SEEN,
    SEGMENTS,
    SIMILAR_ITEMS,
    TRIPLES,
    VECTORS,
)
from kgspark.warehouse.targets import TARGETS, Target

Found = TypeVar("Found")

DIRECTIONS = {
    RECOMMENDATIONS: Direction(USER, MOVIE),
    AUDIENCES: Direction(MOVIE, USER),
    SIMILAR_ITEMS: Direction(MOVIE, MOVIE),
}


def cleaned_tables(night: Night) -> list[str]:
    """Names of the tables that clean-ratings wrote this night."""
    written = night.run.manifest(RATINGS).details["tables"]
    return [name for name in CLEAN if name in written]


def id_type(night: Night) -> str:
    """Spark type of user and movie ids: `bigint` or `string`."""
    return str(night.run.manifest(RATINGS).details["id_type"])


def null_texts(night: Night) -> tuple[str, ...]:
    """Texts that stand for a missing id."""
    return night.settings.source.null_texts


def entity_layout(night: Night) -> EntityLayout:
    """The layout of this night's entities."""
    return EntityLayout.from_json(night.run.manifest(ENTITIES).details["layout"])


def relations_of(night: Night) -> list[Relation]:
    """The relations of this night's triples, in index order."""
    return [Relation.from_json(value) for value in night.run.manifest(TRIPLES).details["relations"]]


def knowledge_graph(night: Night) -> Graph:
    """The triples of this night, in memory, with their relations and the layout of their entities."""
    return read_graph(night.run.table(TRIPLES), entity_layout(night), relations_of(night))


def seen_pairs(night: Night) -> DataFrame:
    """The pairs of user and movie that no list may repeat: the ratings, and refused ones with a null as rating."""
    ratings, seen = (read_table(night.spark, night.run.place(name)) for name in (RATINGS, SEEN))
    return ratings.unionByName(seen, allowMissingColumns=True)


def relation_tables(night: Night) -> dict[str, DataFrame]:
    """The tables that a relation may name: cleaned ones and the user's own. Derived tables are not among them."""
    tables = {name: read_table(night.spark, night.run.place(name)) for name in cleaned_tables(night)}
    for name, source in night.settings.source.tables.items():
        if name in DERIVED:
            raise ConfigError(f"source.tables.{name}: is the name of a derived table; choose another one")
        tables[name] = read_own_table(night.spark, name, source, night.run.lake)
    return tables


def refused_lines(night: Night, tables: Collection[str]) -> list[RefusedLines]:
    """The refused lines of the user's own tables among `tables`; InputError above clean.max_quarantined_share."""
    sources = {name: source for name, source in night.settings.source.tables.items() if name in tables}
    refused = count_refused(night.spark, sources, night.run.lake)
    for lines in refused:
        lines.check(night.settings.clean.max_quarantined_share)
    return refused


def unknown_ids(night: Night, named: Sequence[NamedIds]) -> list[UnknownIds]:
    """The ids that name no user or movie of this night; InputError from source.tables.NAME.stop_at_unknown_share on."""
    entities = read_table(night.spark, night.run.place(ENTITIES))
    unknown = count_unknown(named, entities, id_type(night), null_texts(night))
    names = night.settings.names
    unknown = [replace(ids, kind=names.of_kind(ids.kind)) for ids in unknown]
    for ids in unknown:
        if ids.table in night.settings.source.tables:
            ids.check(night.settings.source.tables[ids.table].stop_at_unknown_share)
    return unknown


def own_table_signatures(night: Night) -> dict[str, str]:
    """Signatures of all tables of the user, with the settings that they are read by, by dotted key."""
    signatures = {}
    for name, source in night.settings.source.tables.items():
        rows = own_signature(lambda: night.spark, name, source, night.run.lake)
        read_by = source.model_dump_json(exclude={"path"})
        signatures[f"source.tables.{name}"] = f"{rows} {read_by}"
    return signatures


def related_table_signatures(night: Night) -> dict[str, str]:
    """Signatures of the user's tables that relations use; other tables do not change the model."""
    named = {f"source.tables.{relation.table}" for relation in night.settings.relations.values()}
    return {key: signature for key, signature in own_table_signatures(night).items() if key in named}


def ranked_tables(night: Night) -> list[str]:
    """The tables that this night ranks. All of them are published."""
    settings = night.settings
    optional = {AUDIENCES: settings.audiences.enabled, SIMILAR_ITEMS: settings.similar_items.enabled}
    return [RECOMMENDATIONS, *(table for table, enabled in optional.items() if enabled)]


def vector_tables(night: Night) -> list[str]:
    """The tables of vectors that this night writes and publishes; empty without `vectors.enabled`."""
    return list(VECTORS) if night.settings.vectors.enabled else []


def tables_to_publish(night: Night) -> list[str]:
    """The tables that this night publishes."""
    return [*ranked_tables(night), *vector_tables(night)]


def vectors_by_source(night: Night, side: Side) -> Mapping[str, int]:
    """The number of users' (queries) or movies' (items) vectors of each source in `tables.SOURCES`."""
    sources: Mapping[str, Mapping[str, int]] | None = night.run.manifest(SEARCH_SPACE).details.get("sources")
    if sources is None:
        raise StageError(f"{night.run.place(SEARCH_SPACE)}: of an earlier version; run train-embeddings again")
    return sources[side]


def needs_popular(night: Night) -> bool:
    """True if some users or movies have no vector of their own, so that popular movies must fill lists."""
    return any(vectors_by_source(night, side)[AVERAGE] for side in (QUERIES, ITEMS))


def search_spaces(night: Night) -> list[str]:
    """The tables of vectors that this night ranks with, one per ranked table."""
    return [RANKED_WITH[table] for table in ranked_tables(night)]


def list_length(night: Night, table: str) -> int:
    """K of a ranked table."""
    settings = night.settings
    return {
        RECOMMENDATIONS: settings.recommend.k,
        AUDIENCES: settings.audiences.k,
        SIMILAR_ITEMS: settings.similar_items.k,
    }[table]


def candidate_tables(night: Night) -> list[str]:
    """The tables that restrict recommendations; empty if every user may get every movie."""
    return [SEGMENTS, CANDIDATES] if night.settings.candidates.restrict else []


def has_rules(night: Night) -> bool:
    """True if recommendations are not simply the best by the model's score of what is offered."""
    return night.settings.rules.active or night.settings.candidates.pins


def rule_tables(night: Night) -> list[str]:
    """The table of what rules say of each movie; empty if no rule looks at movies."""
    return [RULES] if night.settings.rules.looks_at_movies else []


def read_candidates(night: Night) -> Candidates | None:
    """The tables of `candidate_tables`, or None if there are none."""
    tables = [read_table(night.spark, night.run.place(name)) for name in candidate_tables(night)]
    return Candidates(*tables) if tables else None


def held_out_metrics(night: Night) -> Mapping[str, Mapping[str, Any]]:
    """Metrics on held-out likes by name, for `model` and `popularity`; empty if no like was held out."""
    metrics: Mapping[str, Mapping[str, Any]] = night.run.manifest(MODEL).details["metrics"]
    return metrics


def held_out_ndcg(night: Night) -> tuple[str, float, float] | None:
    """NDCG's name with its K, the model's value on held-out likes, and popularity's; None if nothing was measured."""
    metric = f"ndcg@{night.settings.train.resolved().validation.k}"
    ours, popular = (held_out_metrics(night).get(model, {}).get(metric) for model in ("model", "popularity"))
    return None if ours is None or popular is None else (metric, ours, popular)


def publish_targets(night: Night) -> dict[str, Target]:
    """The targets of `publish.targets`, by name; StageError if one lacks its package, ConfigError a variable."""
    settings = night.settings.publish
    return {name: TARGETS[name](settings, lambda: night.spark) for name in settings.targets}


def each_target(night: Night, act: Callable[[str, Target], Found]) -> dict[str, Found]:
    """`act` of every target, by name, one after the other; an error gets the names of the targets that are done."""
    done: dict[str, Found] = {}
    for name, target in publish_targets(night).items():
        try:
            done[name] = act(name, target)
        except KgsparkError as error:
            if not done:
                raise
            raise type(error)(f"{error}; done already: {', '.join(done)}") from error
    return done


def published_places(night: Night) -> dict[str, list[str]]:
    """Each published table with its location in every target."""
    targets = publish_targets(night).values()
    return {table: [target.place(night.run, table) for target in targets] for table in tables_to_publish(night)}
