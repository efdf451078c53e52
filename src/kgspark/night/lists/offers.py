"""The tables of candidates and rules, as the stage recommend writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgspark.errors import ConfigError
from kgspark.files import TableFiles
from kgspark.night.lists.checked_offers import check_offers
from kgspark.night.night import Night
from kgspark.night.reads import candidate_tables, rule_tables
from kgspark.spark.frames import read_table, write_table
from kgspark.spark.ranking.rules import check_boosts
from kgspark.tables import CANDIDATES, RULES, SEGMENTS, Columns


def write_offers(night: Night, folders: Mapping[str, Path]) -> tuple[dict[str, TableFiles], dict[str, Any]]:
    """Writes the tables of candidates and rules that the night has; returns their files and details.

    Details: lines `refused` and `unknown_ids` of the user's tables that they use, and what `_check_offered` returns.
    """
    if not candidate_tables(night) and not rule_tables(night):
        return {}, {}
    checked = check_offers(night)
    files, details = {}, checked.to_json()
    candidates, rules = checked.built.candidates, checked.built.rules
    if candidates is not None:
        files[SEGMENTS] = write_table(candidates.segments, folders[SEGMENTS])
        files[CANDIDATES] = write_table(candidates.movies, folders[CANDIDATES])
        details = {"offered": _check_offered(night, folders), **details}
    if rules is not None:
        files[RULES] = write_table(rules, folders[RULES])
        check_boosts(night.settings.rules, read_table(night.spark, folders[RULES]))
    return files, details


def _check_offered(night: Night, folders: Mapping[str, Path]) -> dict[str, dict[str, int]]:
    """The users and movies per segment; ConfigError if a segment has users but no movie is left for them."""
    names = night.settings.names
    users, movies = (_count_by_segment(night, folders[name]) for name in (SEGMENTS, CANDIDATES))
    for segment, count in users.items():
        if not movies.get(segment):
            raise ConfigError(
                f"candidates: no {names.movie} is left for the {count:,} {names.users} of segment {segment!r}; relax "
                f"candidates.where, min_ratings, min_likes, allow, deny or segments.{segment}"
            )
    return {name: {"users": users[name], "movies": movies[name]} for name in sorted(users)}


def _count_by_segment(night: Night, folder: Path) -> dict[str, int]:
    counted = read_table(night.spark, folder).groupBy(Columns.SEGMENT).count().collect()
    return {row[Columns.SEGMENT]: row["count"] for row in counted}
