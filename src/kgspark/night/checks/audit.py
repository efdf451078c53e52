"""The audit of a night: schema, every row, and the scores of a sample of users."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import pyarrow as pa

from kgspark.graph.layout import MOVIE, USER
from kgspark.night.checks.rules_audit import rule_facts
from kgspark.night.checks.vector_scores import check_vector_scores
from kgspark.night.lists.reason_facts import read_movie_facts
from kgspark.night.lists.rules import extras_of
from kgspark.night.night import Night
from kgspark.night.reads import DIRECTIONS, entity_layout, id_type, list_length, read_candidates, seen_pairs
from kgspark.search_space import SearchSpace
from kgspark.spark.frames import DataFrame, read_table
from kgspark.spark.ranking.audit.checks import check_named
from kgspark.spark.ranking.audit.counts import NightFacts, RankedTable, with_our_names
from kgspark.spark.ranking.audit.findings import Finding
from kgspark.spark.ranking.audit.lists import Beside, audit_lists
from kgspark.spark.ranking.audit.schema import check_schema
from kgspark.spark.ranking.audit.vectors import VectorTable, audit_vectors
from kgspark.tables import (
    ENTITIES,
    MOVIE_VECTORS,
    RANKED,
    SEARCH_SPACE,
    SIMILAR_ITEMS,
    USER_VECTORS,
    VECTORS,
)
from kgspark.warehouse.files import warehouse_of

# The kind of the entities that have the vectors of a table.
_VECTORS_OF = {USER_VECTORS: USER, MOVIE_VECTORS: MOVIE}


def audit_night(night: Night, tables: Sequence[str]) -> list[Finding]:
    """The findings of all checks of these tables, ranked ones or vectors; only those of the schema if it is broken."""
    names, scoring = night.settings.names, SearchSpace.load(night.run.table(SEARCH_SPACE)).scoring
    schema = [
        finding
        for name in tables
        for finding in check_schema(
            night.run.footers(name), name, id_type(night), names, scoring, extras_of(night.settings)
        )
    ]
    if any(finding.blocks for finding in schema):
        return schema
    frames = {name: read_table(night.spark, night.run.place(name)) for name in tables}
    facts = NightFacts(
        ds=night.run.date,
        model_id=night.run.manifest(SEARCH_SPACE).details["model_id"],
        liked=night.settings.target.where or "true",
        names=names,
    )
    beside = Beside(
        ratings=seen_pairs(night),
        entities=read_table(night.spark, night.run.place(ENTITIES)),
        layout=entity_layout(night),
        id_type=id_type(night),
        candidates=read_candidates(night),
        rules=rule_facts(night),
        facts=read_movie_facts(night) if night.settings.recommend.reason_facts else None,
    )
    ranked = [
        RankedTable(name, rows, DIRECTIONS[name], list_length(night, name), _last_published(night, name))
        for name, rows in frames.items()
        if name in RANKED
    ]
    lists = audit_lists(ranked, facts, beside, night.settings.audit) if ranked else []
    vectors = [
        audit_vectors(VectorTable(name, frames[name], kind, scoring.dimension), facts, beside, night.settings.audit)
        for name, kind in _VECTORS_OF.items()
        if name in frames
    ]
    ours = {name: with_our_names(rows, names) for name, rows in frames.items()}
    return [*schema, *chain.from_iterable(lists + vectors), *_measured(night, ours)]


def _measured(night: Night, frames: Mapping[str, DataFrame]) -> Iterator[Finding]:
    """The findings of the checks that compute scores again, from the model's file or from the vectors."""
    yield from _compare_with_model(night, {name: rows for name, rows in frames.items() if name in RANKED})
    if frames.keys() >= set(VECTORS):
        yield from check_vector_scores(night, frames)


def _compare_with_model(night: Night, frames: Mapping[str, DataFrame]) -> Iterator[Finding]:
    """The findings of the checks that compute scores again from the model's file."""
    from kgspark.night.checks import model_scores, similar_lists, top_lists  # imports torch

    of_users = {name: rows for name, rows in frames.items() if name != SIMILAR_ITEMS}
    if SIMILAR_ITEMS in frames:
        yield from similar_lists.check_similar(night, frames[SIMILAR_ITEMS])
    checks = {model_scores.CHECK: model_scores.compare_scores, top_lists.CHECK: top_lists.check_top_k}
    chosen = {name: check for name, check in checks.items() if night.settings.audit.checks[name].severity != "off"}
    if not chosen or not of_users:
        return
    sample = model_scores.Sample.collect(night, of_users)
    for name, check in chosen.items():
        for table in filter(of_users.__contains__, check_named(name).tables):
            yield check(night, sample, table)


def _last_published(night: Night, table: str) -> DataFrame | None:
    """The table of the last night before this one in the warehouse; None if there is none that can be read.

    A damaged file there must not stop tonight's publication, so it is left out. So is a table with other names.
    """
    warehouse = warehouse_of(night.run.lake)
    earlier = (warehouse.readable(table, date) for date in warehouse.dates() if date < night.run.date)
    folder = next(filter(None, earlier), None)
    if folder is None:
        return None
    try:
        before = read_table(night.spark, folder, tolerant=True)
    except (OSError, ValueError, pa.ArrowException):
        return None
    names, direction = night.settings.names, DIRECTIONS[table]
    ids = {names.column(column) for column in (direction.query_column, direction.item_column)}
    return with_our_names(before, names) if ids <= set(before.columns) else None
