"""The candidates and business rules of a night, from the settings and the user's own tables, whose ids are checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgspark.night.night import Night
from kgspark.night.reads import (
    entity_layout,
    id_type,
    null_texts,
    refused_lines,
    relation_tables,
    rule_tables,
    unknown_ids,
)
from kgspark.spark.frames import DataFrame, read_table
from kgspark.spark.own_tables import RefusedLines
from kgspark.spark.ranking.candidates import Candidates, build_candidates, listed_ids, own_tables_of
from kgspark.spark.ranking.rules import movie_rules
from kgspark.spark.unknown_ids import UnknownIds
from kgspark.tables import ENTITIES


@dataclass(frozen=True)
class Offers:
    """The tables of the candidates and of the rules, not computed yet; None if the settings need none."""

    candidates: Candidates | None
    rules: DataFrame | None


@dataclass(frozen=True)
class CheckedOffers:
    """The tables, and what was refused or unknown in the user's tables that they use."""

    built: Offers
    refused: list[RefusedLines]
    unknown: list[UnknownIds]

    def to_json(self) -> dict[str, Any]:
        """The lines and ids, for a manifest."""
        return {
            "refused": [lines.to_json() for lines in self.refused],
            "unknown_ids": [ids.to_json() for ids in self.unknown],
        }


def check_offers(night: Night) -> CheckedOffers:
    """Reads the lists of `candidates`, and resolves the SQL of `candidates` and `rules`. The entities must be there.

    Raises ConfigError for an expression that Spark cannot resolve, and InputError for a list whose lines or ids are too
    often bad.
    """
    tables = relation_tables(night)
    built = offers_of(night, tables)
    used = own_tables_of(night.spark, night.settings.candidates, tables, night.settings.rules)
    return CheckedOffers(built, refused_lines(night, used), unknown_ids(night, listed_ids(used, tables)))


def offers_of(night: Night, tables: Mapping[str, DataFrame]) -> Offers:
    """The tables by the settings, from the clean tables and the user's own ones. Lazy."""
    entities = read_table(night.spark, night.run.place(ENTITIES))
    liked = night.settings.target.where or "true"
    about = entities, entity_layout(night), id_type(night)
    candidates = rules = None
    if night.settings.candidates.restrict:
        candidates = build_candidates(night.settings.candidates, tables, *about, null_texts(night), liked)
    if rule_tables(night):
        rules = movie_rules(night.settings.rules, tables, *about, liked, null_texts(night))
    return Offers(candidates, rules)
