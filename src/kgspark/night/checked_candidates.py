"""The candidates of a night, from the settings and the user's own tables, after a check of the ids in these tables."""

from dataclasses import dataclass
from typing import Any

from kgspark.night.night import Night
from kgspark.night.reads import entity_layout, id_type, null_texts, refused_lines, relation_tables, unknown_ids
from kgspark.spark.frames import read_table
from kgspark.spark.own_tables import RefusedLines
from kgspark.spark.ranking.candidates import Candidates, build_candidates, listed_ids, own_tables_of
from kgspark.spark.unknown_ids import UnknownIds
from kgspark.tables import ENTITIES


@dataclass(frozen=True)
class CheckedCandidates:
    """Both tables, not computed yet; and what was refused or unknown in the user's tables that restrict them."""

    built: Candidates
    refused: list[RefusedLines]
    unknown: list[UnknownIds]

    def to_json(self) -> dict[str, Any]:
        """The lines and ids, for a manifest."""
        return {
            "refused": [lines.to_json() for lines in self.refused],
            "unknown_ids": [ids.to_json() for ids in self.unknown],
        }


def check_candidates(night: Night) -> CheckedCandidates:
    """Reads the lists of `candidates`, and resolves its conditions. The entities must be there.

    Raises ConfigError for a condition that Spark cannot resolve, and InputError for a list whose lines or ids are too
    often bad.
    """
    settings, tables = night.settings.candidates, relation_tables(night)
    entities = read_table(night.spark, night.run.place(ENTITIES))
    built = build_candidates(settings, tables, entities, entity_layout(night), id_type(night), null_texts(night))
    used = own_tables_of(night.spark, settings, tables)
    return CheckedCandidates(built, refused_lines(night, used), unknown_ids(night, listed_ids(used, tables)))
