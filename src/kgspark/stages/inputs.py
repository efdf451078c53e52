"""The tables that relations draw on: the cleaned ones of this night, and the user's own."""

from pathlib import Path

from kgspark.errors import InputError
from kgspark.files import source_signature
from kgspark.spark.frames import DataFrame, read_csv, read_parquet, read_table
from kgspark.stages.night import Night
from kgspark.tables import MOVIES, RATINGS, TAGS, USERS


def cleaned_tables(night: Night) -> list[str]:
    """Names of the tables that clean-ratings wrote this night."""
    written = night.run.manifest(RATINGS).details["tables"]
    return [name for name in (RATINGS, MOVIES, USERS, TAGS) if name in written]


def id_type(night: Night) -> str:
    """Spark type of user and movie ids: bigint or string."""
    return str(night.run.manifest(RATINGS).details["id_type"])


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
