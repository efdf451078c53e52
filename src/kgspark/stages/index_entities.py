"""index-entities: every user, movie, genre and further kind gets a contiguous index."""

import shutil
from typing import Any

from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.night.night import Night
from kgspark.night.reads import (
    cleaned_tables,
    entity_layout,
    id_type,
    refused_lines,
    related_table_signatures,
    relation_tables,
)
from kgspark.runs import Outcome, StageWork
from kgspark.spark.frames import read_table, write_table
from kgspark.spark.graph.entities import count_kinds, members, number_sorted, sorted_members
from kgspark.spark.graph.relations import left_out, usable_relations
from kgspark.spark.graph.settings import kinds_in_order
from kgspark.spark.own_tables import RefusedLines
from kgspark.tables import ENTITIES


def run(night: Night) -> Outcome:
    """Numbers the entities unless the tables and relations are unchanged."""
    work = StageWork.plan(
        night.run,
        "index-entities",
        reads=cleaned_tables(night),
        writes=(ENTITIES,),
        settings=stage_settings(night),
        sources=related_table_signatures(night),
    )
    return night.stage(work, _index, _summary)


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that the numbering depends on."""
    return {"relations": {name: relation.model_dump() for name, relation in night.settings.relations.items()}}


def _index(night: Night, work: StageWork) -> None:
    tables = relation_tables(night)
    relations = usable_relations(night.settings.relations, tables)
    for table, names in left_out(night.settings.relations, tables).items():
        night.note(f"no table {table}, so the graph lacks {', '.join(names)}")
    refused = refused_lines(night, {relation.table for relation in relations.values()})
    kinds = kinds_in_order(relations)
    folder = work.begin()[ENTITIES]
    integer_kinds = [kinds.index(USER), kinds.index(MOVIE)] if id_type(night) == "bigint" else []
    in_order = folder.with_name("sorted")
    ordered = write_table(sorted_members(members(tables, relations, kinds), integer_kinds), in_order)
    files = write_table(number_sorted(read_table(night.spark, in_order), ordered.files, kinds), folder)
    layout = EntityLayout.from_counts(count_kinds(read_table(night.spark, folder), kinds))
    shutil.rmtree(in_order, ignore_errors=True)
    details = {
        "layout": layout.to_json(),
        "refused": [lines.to_json() for lines in refused],
    }
    work.commit({ENTITIES: files}, {ENTITIES: details})


def _summary(night: Night) -> str:
    layout = entity_layout(night)
    names = night.settings.names
    parts = [f"{layout.count(kind):,} {names.of_kind(kind)}" for kind in layout.ranges if layout.count(kind)]
    text = f"{layout.size:,} entities: {', '.join(parts)}"
    details = night.run.manifest(ENTITIES).details
    return "; ".join([text, *(str(RefusedLines(**lines)) for lines in details["refused"])])
