"""write-triples: the knowledge graph as sorted shards, with each held-out like in its split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgspark.errors import StageError
from kgspark.files import TableFiles
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.night.default_graph import DEFAULT_RELATIONS
from kgspark.night.lists.checked_offers import check_offers
from kgspark.night.night import Night
from kgspark.night.reads import (
    candidate_tables,
    cleaned_tables,
    entity_layout,
    id_type,
    null_texts,
    related_table_signatures,
    relation_tables,
    rule_tables,
    unknown_ids,
)
from kgspark.runs import Outcome, StageWork
from kgspark.spark.frames import DataFrame, read_table, write_table
from kgspark.spark.graph.derived import DERIVED, derived_tables
from kgspark.spark.graph.relations import ids_in_relations, matching_rows, usable_relations
from kgspark.spark.graph.settings import RelationSettings
from kgspark.spark.graph.splits import with_age, with_split
from kgspark.spark.graph.triples import build_triples, count_triples, sharded
from kgspark.spark.unknown_ids import UnknownIds
from kgspark.tables import ENTITIES, RATINGS, TEST, TRAIN, TRIPLES, VALID, Columns


def run(night: Night) -> Outcome:
    """Writes the triples unless entities, tables, relations and split are unchanged."""
    work = StageWork.plan(
        night.run,
        "write-triples",
        reads=(ENTITIES, *cleaned_tables(night)),
        writes=(TRIPLES,),
        settings=stage_settings(night),
        sources=related_table_signatures(night),
    )
    return night.stage(work, _write, _summary)


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that the triples depend on."""
    settings = night.settings
    return {
        "relations": {name: relation.model_dump() for name, relation in settings.relations.items()},
        "split": settings.split.model_dump(),
        "train": {"target": settings.train.target},
        "triples": settings.triples.model_dump(),
    }


def _write(night: Night, work: StageWork) -> None:
    sources = relation_tables(night)
    usable = usable_relations(night.settings.relations, sources)
    tables = _with_split_and_derived(night, usable, sources)
    layout = entity_layout(night)
    unknown = unknown_ids(night, ids_in_relations(usable, sources))
    if candidate_tables(night) or rule_tables(night):
        check_offers(night)  # before the training, which takes longest; recommend reads the lists again
    folder = work.begin()[TRIPLES]
    files = _write_shards(night, usable, tables, layout, folder)

    relations = [
        Relation(i, name, r.head.kind, r.tail.kind, r.table in DERIVED and DERIVED[r.table].of_likes)
        for i, (name, r) in enumerate(usable.items())
    ]
    counts = count_triples(read_table(night.spark, folder), relations, layout)
    _check_training_triples(night, counts)
    details = {
        "relations": [r.to_json() for r in relations],
        "layout": layout.to_json(),
        "counts": counts,
        "unknown_ids": [ids.to_json() for ids in unknown],
    }
    work.commit({TRIPLES: files}, {TRIPLES: details})


def _with_split_and_derived(
    night: Night, usable: Mapping[str, RelationSettings], tables: Mapping[str, DataFrame]
) -> dict[str, DataFrame]:
    """The tables, with split and age of the ratings, and the derived tables that relations use."""
    settings, target = night.settings, night.settings.target
    matching_rows(settings.train.target, target, tables[RATINGS])  # checks the condition: an error names its key
    ratings = with_age(with_split(tables[RATINGS], settings.split, target.where))
    named = {relation.table for relation in usable.values()}
    most = night.run.manifest(RATINGS).rows
    return {**tables, RATINGS: ratings, **derived_tables(named, ratings, target.where, settings.triples, most)}


def _write_shards(
    night: Night,
    usable: Mapping[str, RelationSettings],
    tables: Mapping[str, DataFrame],
    layout: EntityLayout,
    folder: Path,
) -> TableFiles:
    rows_per_shard = night.settings.triples.rows_per_shard
    # The exact number of triples is known only after writing; the sizes of the clean tables give an estimate.
    clean = cleaned_tables(night)
    expected = sum(night.run.manifest(r.table).rows for r in usable.values() if r.table in clean)
    entities = read_table(night.spark, night.run.place(ENTITIES))
    triples = build_triples(usable, tables, entities, id_type(night), null_texts(night))
    shards = max(1, -(-expected // rows_per_shard))
    return write_table(sharded(triples, shards, layout.size), folder, rows_per_shard)


def _check_training_triples(night: Night, counts: list[dict[str, Any]]) -> None:
    """StageError if the target has no triple to train on."""
    target = night.settings.train.target
    if not any(row[Columns.RELATION] == target and row[Columns.SPLIT] == TRAIN for row in counts):
        raise StageError(
            f"relations.{target}: no triple to train on; its condition is {night.settings.target.where!r}, and split "
            f"{night.settings.split.protocol} leaves nothing in train"
        )


def _summary(night: Night) -> str:
    manifest = night.run.manifest(TRIPLES)
    target = night.settings.train.target
    of_target = [row for row in manifest.details["counts"] if row[Columns.RELATION] == target]
    likes = {row[Columns.SPLIT]: row["rows"] for row in of_target}
    split = ", ".join(f"{likes[name]:,} {name}" for name in (TRAIN, VALID, TEST) if name in likes)
    text = f"{manifest.rows:,} triples of {len(manifest.details['relations'])} relations; {target}: {split}"
    text += _other_scale(night, sum(likes.values()))
    found = {row[Columns.RELATION] for row in manifest.details["counts"]}
    empty = [relation["name"] for relation in manifest.details["relations"] if relation["name"] not in found]
    if empty:
        text += f"; no triple of {', '.join(empty)}"
    return "; ".join([text, *(str(UnknownIds(**ids)) for ids in manifest.details["unknown_ids"])])


def _other_scale(night: Night, likes: int) -> str:
    """The share of likes, if the default condition for them is applied to another scale than stars up to 5."""
    ratings, condition = night.run.manifest(RATINGS), night.settings.target.where
    scale = ratings.details.get("scale")  # ratings of an evaluation's own files have none
    if scale is None or scale["high"] == 5 or condition != DEFAULT_RELATIONS["liked"]["where"]:
        return ""
    share, ends = likes / ratings.rows, f"{scale['low']:g} to {scale['high']:g}"
    return f" ({condition!r} on a scale of {ends}: {share:.0%} of the ratings are likes)"
