"""write-triples: the knowledge graph as sorted shards, with each held-out like in its split."""

from typing import Any

from kgspark.errors import StageError
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.night.night import Night
from kgspark.night.reads import cleaned_tables, entity_layout, id_type, related_table_signatures, relation_tables
from kgspark.runs import Outcome, StageWork
from kgspark.spark.frames import DataFrame, read_table, write_table
from kgspark.spark.graph.co_watch import co_watched
from kgspark.spark.graph.relations import AGE_DAYS, CO_WATCHED, relation_rows, usable_relations
from kgspark.spark.graph.splits import with_age, with_split
from kgspark.spark.graph.triples import build_triples, count_triples, sharded
from kgspark.tables import ENTITIES, RATINGS, TRAIN, TRIPLES


def run(night: Night) -> Outcome:
    """Writes the triples unless entities, tables, relations and split are as they were."""
    settings = night.settings
    work = StageWork.plan(
        night.run,
        "write-triples",
        reads=(ENTITIES, *cleaned_tables(night)),
        writes=(TRIPLES,),
        settings={
            "relations": {name: relation.model_dump() for name, relation in settings.relations.items()},
            "split": settings.split.model_dump(),
            "target": settings.train.target,
            "triples": settings.triples.model_dump(),
        },
        sources=related_table_signatures(night),
    )
    return night.stage(work, _write, _summary)


def _write(night: Night, work: StageWork) -> None:
    settings = night.settings
    tables = relation_tables(night)
    usable = usable_relations(settings.relations, tables)
    target = settings.target
    relation_rows(  # its condition decides what is split
        settings.train.target, target.model_copy(update={"weight": "1.0"}), tables[RATINGS]
    )
    tables[RATINGS] = with_split(tables[RATINGS], settings.split, target.where)
    if any(AGE_DAYS in relation.weight for relation in usable.values()):
        tables[RATINGS] = with_age(tables[RATINGS])
    if any(relation.table == CO_WATCHED for relation in usable.values()):
        likes = _training_likes(tables[RATINGS], target.where)
        tables[CO_WATCHED] = co_watched(likes, settings.triples.co_watch, night.run.manifest(RATINGS).rows)
    entities = read_table(night.spark, night.run.table(ENTITIES))
    folder = work.begin()[TRIPLES]
    triples = build_triples(usable, tables, entities, id_type(night))
    # How many rows the relations give is known only when they are written; the tables' sizes bound what matters.
    expected = sum(night.run.manifest(r.table).rows for r in usable.values() if r.table in cleaned_tables(night))
    shards = max(1, -(-expected // settings.triples.rows_per_shard))
    layout = entity_layout(night)
    files = write_table(sharded(triples, shards, layout.size), folder, settings.triples.rows_per_shard)
    relations = [
        Relation(i, name, r.head.kind, r.tail.kind, r.table == CO_WATCHED) for i, (name, r) in enumerate(usable.items())
    ]
    counts = count_triples(read_table(night.spark, folder), relations, layout)
    if not any(row["relation"] == settings.train.target and row["split"] == TRAIN for row in counts):
        raise StageError(
            f"relations.{settings.train.target}: no triple to train on; its condition is {target.where!r}, and split "
            f"{settings.split.protocol} leaves nothing in train"
        )
    work.commit({TRIPLES: files}, {TRIPLES: _details(relations, layout, counts)})


def _training_likes(ratings: DataFrame, where: str | None) -> DataFrame:
    likes = ratings.where(ratings["split"] == TRAIN)
    return likes if where is None else likes.where(where)


def _details(relations: list[Relation], layout: EntityLayout, counts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"relations": [r.to_json() for r in relations], "layout": layout.to_json(), "counts": counts}


def _summary(night: Night) -> str:
    manifest = night.run.manifest(TRIPLES)
    target = night.settings.train.target
    likes = {row["split"]: row["rows"] for row in manifest.details["counts"] if row["relation"] == target}
    split = ", ".join(f"{likes[name]:,} {name}" for name in ("train", "valid", "test") if name in likes)
    return f"{manifest.rows:,} triples of {len(manifest.details['relations'])} relations; {target}: {split}"
