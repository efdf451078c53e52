"""Writing the tables that restrict who may be recommended what; the stage recommend calls it."""

from collections.abc import Mapping
from pathlib import Path

from kgspark.errors import ConfigError
from kgspark.files import DataFile
from kgspark.graph.layout import EntityLayout
from kgspark.night.night import Night
from kgspark.night.reads import candidate_tables, id_type, relation_tables
from kgspark.spark.frames import read_table, write_table
from kgspark.spark.ranking.candidates import build_candidates
from kgspark.tables import CANDIDATES, ENTITIES, SEGMENTS

Offered = dict[str, dict[str, int]]


def write_candidates(
    night: Night, layout: EntityLayout, folders: Mapping[str, Path]
) -> tuple[dict[str, list[DataFile]], Offered]:
    """Writes both tables if anything restricts candidates; returns their files, and users and movies per segment.

    Raises ConfigError if a segment has users but no movie is left for them.
    """
    if not candidate_tables(night):
        return {}, {}
    entities = read_table(night.spark, night.run.table(ENTITIES))
    built = build_candidates(night.settings.candidates, relation_tables(night), entities, layout, id_type(night))
    files = {
        SEGMENTS: write_table(built.segments, folders[SEGMENTS]),
        CANDIDATES: write_table(built.movies, folders[CANDIDATES]),
    }
    users, movies = (_by_segment(night, folders[name]) for name in (SEGMENTS, CANDIDATES))
    for segment, count in users.items():
        if not movies.get(segment):
            raise ConfigError(
                f"candidates: no movie is left for the {count:,} users of segment {segment!r}; relax candidates.where, "
                f"min_ratings, allow, deny or segments.{segment}.movies"
            )
    return files, {name: {"users": users[name], "movies": movies[name]} for name in sorted(users)}


def _by_segment(night: Night, folder: Path) -> dict[str, int]:
    counted = read_table(night.spark, folder).groupBy("segment").count().collect()
    return {row["segment"]: row["count"] for row in counted}
