"""What earlier stages of a night left for later ones, and the user's own tables: every stage reads through here."""

from pathlib import Path

from kgspark.errors import InputError
from kgspark.files import source_signature
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.graph.relation import Relation
from kgspark.night.night import Night
from kgspark.spark.frames import DataFrame, read_csv, read_parquet, read_table
from kgspark.spark.ranking.executors import Side
from kgspark.tables import AUDIENCES, ENTITIES, MOVIES, RATINGS, RECOMMENDATIONS, TAGS, TRIPLES, USERS

SIDES = {RECOMMENDATIONS: Side(USER, MOVIE), AUDIENCES: Side(MOVIE, USER)}


def cleaned_tables(night: Night) -> list[str]:
    """Names of the tables that clean-ratings wrote this night."""
    written = night.run.manifest(RATINGS).details["tables"]
    return [name for name in (RATINGS, MOVIES, USERS, TAGS) if name in written]


def id_type(night: Night) -> str:
    """Spark type of user and movie ids: bigint or string."""
    return str(night.run.manifest(RATINGS).details["id_type"])


def entity_layout(night: Night) -> EntityLayout:
    """The layout of this night's entities."""
    return EntityLayout.from_json(night.run.manifest(ENTITIES).details["layout"])


def relations_of(night: Night) -> list[Relation]:
    """The relations of this night's triples, in index order."""
    return [Relation.from_json(value) for value in night.run.manifest(TRIPLES).details["relations"]]


def relation_tables(night: Night) -> dict[str, DataFrame]:
    """Every table that a relation may name, but for those that are derived."""
    tables = {name: read_table(night.spark, night.run.table(name)) for name in cleaned_tables(night)}
    for name, source in night.settings.source.tables.items():
        path = _existing(name, source.path)
        csv = source.format == "csv"
        tables[name] = read_csv(night.spark, path, source.separator) if csv else read_parquet(night.spark, path)
    return tables


def own_table_signatures(night: Night) -> dict[str, str]:
    """Signatures of all of the user's own tables, by dotted key."""
    sources = night.settings.source.tables
    return {f"source.tables.{name}": source_signature([_existing(name, s.path)]) for name, s in sources.items()}


def related_table_signatures(night: Night) -> dict[str, str]:
    """Signatures of those of the user's own tables that relations draw on; a list of candidates changes no model."""
    named = {f"source.tables.{relation.table}" for relation in night.settings.relations.values()}
    return {key: signature for key, signature in own_table_signatures(night).items() if key in named}


def _existing(name: str, path: str) -> Path:
    if not Path(path).exists():
        raise InputError(f"{path}: no such file or folder; source.tables.{name}.path names it")
    return Path(path).absolute()


def ranked_tables(night: Night) -> list[str]:
    """The tables that this night ranks and publishes."""
    return [RECOMMENDATIONS, AUDIENCES] if night.settings.audiences.enabled else [RECOMMENDATIONS]


def list_length(night: Night, table: str) -> int:
    """K of a ranked table."""
    return night.settings.recommend.k if table == RECOMMENDATIONS else night.settings.audiences.k
