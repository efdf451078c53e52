"""Settings of the knowledge graph: relations, split, triples."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from kgspark.config import Settings, Sql
from kgspark.graph.layout import GENRE, MOVIE, USER


class EndSettings(Settings):
    """One end of a relation."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="entity kind")
    column: Sql = Field(description="SQL expression over the table that gives the external id")


class RelationSettings(Settings):
    """The knowledge graph: each relation makes triples of a table by SQL expressions.

    Relations of a file are merged into these, key by key; `name: null` removes a relation.
    """

    table: str = Field(description="ratings, movies, users, tags, co_watched, or one of source.tables")
    head: EndSettings = Field(description="kind of the heads, or {kind, column}; user and movie have a default column")
    tail: EndSettings = Field(
        description="kind of the tails, or {kind, column}; other kinds' default column is their name"
    )
    where: Sql | None = Field(None, description="SQL condition on the table's rows")
    explode: str | None = Field(None, description="array column to split, one row per element")
    weight: Sql = Field(
        "1.0",
        description="SQL expression: weight of a triple in the loss; on table ratings, it may read age_days, the days "
        "from the rating to the latest training rating",
    )
    optional: bool = Field(False, description="leave the relation out if its table is not in the data")

    @field_validator("head", "tail", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value, "column": {"user": "user_id", "movie": "movie_id"}.get(value, value)}
        return value

    @field_validator("weight", mode="before")
    @classmethod
    def _number_is_sql(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class SplitSettings(Settings):
    """The likes that are held out of training, for validation and for the metrics at the end.

    Every rating of a held-out pair of user and movie is held out with it.
    """

    protocol: Literal["random", "leave-one-out", "per-user", "time", "cold-users", "cold-movies", "none"] = Field(
        "random",
        description="random (a fraction), leave-one-out (each user's latest), per-user (8:1:1), time (the latest "
        "fraction), cold-users and cold-movies (all likes of a fraction of them), none",
    )
    test: float = Field(0.15, ge=0, lt=1, description="fraction of the likes, users or movies in test")
    valid: float = Field(
        0.05, ge=0, lt=1, description="fraction of the other likes in validation (not for leave-one-out and per-user)"
    )
    seed: int = Field(42, description="seed of the hash that splits by pair, user or movie")


class CoWatchSettings(Settings):
    """The table co_watched: pairs of movies that users liked shortly after each other, from training likes only."""

    window: int = Field(3, ge=1, description="largest distance of the two movies in a user's likes, by time")
    min_users: int = Field(3, ge=1, description="number of users that a pair must have")
    top: int = Field(50, ge=1, description="neighbours kept per movie: those with the most users in common")


class TriplesSettings(Settings):
    """The shards that training reads."""

    rows_per_shard: int = Field(1_000_000, ge=1, description="largest number of rows per shard")
    co_watch: CoWatchSettings = Field(default_factory=CoWatchSettings)


def kinds_in_order(relations: Mapping[str, RelationSettings]) -> list[str]:
    """Users, movies, genres, then further kinds in the order of their first relation."""
    kinds = [USER, MOVIE, GENRE]
    for relation in relations.values():
        for end in (relation.head, relation.tail):
            if end.kind not in kinds:
                kinds.append(end.kind)
    return kinds
