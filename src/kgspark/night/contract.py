"""The published tables of a configuration, as their contract describes them: columns, and what the audit guarantees."""

from collections.abc import Iterator
from dataclasses import replace

from kgspark.night.lists.rules import extras_of, features, in_order_of_scores
from kgspark.night.night import Night
from kgspark.night.reads import DIRECTIONS, tables_to_publish
from kgspark.night.settings import NightSettings
from kgspark.published_schemas import MEANINGS, published_columns, sources_of
from kgspark.report.contract.tables import PublishedTable, Rule
from kgspark.runs import Run, run_dates
from kgspark.search_space import Scoring
from kgspark.spark.ranking.audit.checks import CHECKS, Check
from kgspark.tables import RATINGS, RECOMMENDATIONS, USER_VECTORS, VECTORS, Columns
from kgspark.warehouse.files import warehouse_of


def published_tables(night: Night) -> list[PublishedTable]:
    """The tables that the configuration publishes. No night must have run before."""
    return [_table(night, name) for name in tables_to_publish(night)]


def _table(night: Night, table: str) -> PublishedTable:
    names = night.settings.names
    columns = [
        replace(column, name=names.column(column.name), meaning=names.fill(column.meaning))
        for column in published_columns(
            table, _id_type(night.settings), _scoring(night.settings), extras_of(night.settings)
        )
    ]
    place = f"{warehouse_of(night.run.lake).day_of(table, '*')}/*.parquet"
    return PublishedTable(table, names.fill(MEANINGS[table]), place, columns, list(_rules(night.settings, table)))


def _id_type(settings: NightSettings) -> str:
    """That of the newest night, because Parquet columns of text are strings in any case; else that of source.ids."""
    for date in reversed(run_dates(settings.lake)):
        manifest = Run(settings.lake, date).find_manifest(RATINGS)
        if manifest is not None:
            return str(manifest.details["id_type"])
    return "bigint" if settings.source.ids == "integer" else "string"


def _scoring(settings: NightSettings) -> Scoring | None:
    """How the vectors of the newest night that has them are scored; None if there is none."""
    for date in reversed(run_dates(settings.lake)):
        manifest = Run(settings.lake, date).find_manifest(USER_VECTORS)
        if manifest is not None:
            return Scoring.from_json(manifest.details["scoring"])
    return None


def _rules(settings: NightSettings, table: str) -> Iterator[Rule]:
    """The checks that block a publication; others promise nothing."""
    for check in CHECKS:
        given = settings.audit.checks[check.name]
        unordered = check.name == "score_order" and table == RECOMMENDATIONS and not in_order_of_scores(settings)
        if given.severity == "block" and table in check.tables and _is_made(settings, check) and not unordered:
            yield _rule(settings, table, check, given.bound)
    for name, own in settings.audit.own.items():
        if own.table == table and own.severity == "block":
            text = f"no row with {own.where}" + (f"; at most {own.bound:g} of the rows" if own.bound else "")
            yield Rule(name, text, never="" if own.bound else own.where)


def _is_made(settings: NightSettings, check: Check) -> bool:
    """False for a check that the audit of this configuration leaves out."""
    if check.name == "top_k" and settings.recommend.index.kind != "flat":
        return False
    if check.only_with:
        return check.only_with in features(settings)
    return settings.candidates.restrict or not check.restricted_only


def _rule(settings: NightSettings, table: str, check: Check, bound: float) -> Rule:
    names = settings.names
    text = names.fill(check.rule)
    if bound:
        return Rule(check.name, f"{text}: {check.limit} {bound:g} {names.fill(check.unit)}", names.column(check.column))
    unique = _unique(table).get(check.name)
    if unique is not None:
        return Rule(check.name, text, unique=tuple(map(names.column, unique)))
    values = sources_of(table, extras_of(settings)) if check.name in ("source", "vector_source") else ()
    return Rule(check.name, text, names.column(check.column), values=values)


def _unique(table: str) -> dict[str, tuple[str, ...]]:
    """The columns whose values together do not repeat, by the check that finds it."""
    if table in VECTORS:
        return {"incomplete": (Columns.USER_ID if table == USER_VECTORS else Columns.MOVIE_ID, Columns.DS)}
    query, item = DIRECTIONS[table].query_column, DIRECTIONS[table].item_column
    return {"ranks": (query, Columns.RANK, Columns.DS), "repeated_item": (query, item, Columns.DS)}
