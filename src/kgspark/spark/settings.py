"""Settings of the Spark session and of the stages that run on it: source, cleaning, relations, splits, triples."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from kgspark.config import Settings

# The segment of the users who fit no other segment.
REST = "rest"


class SessionSettings(Settings):
    """The Spark session. Under spark-submit, the master and the settings given there win."""

    master: str = Field("local[*]", description="Spark's master: local[N], spark://host:port, yarn, k8s://...")
    driver_memory: str = Field("2g", pattern=r"^[1-9][0-9]*[kmgt]$", description="heap of the driver's JVM")
    conf: dict[str, Any] = Field(default_factory=dict, description="any further Spark settings, by their own names")

    @field_validator("conf", mode="before")
    @classmethod
    def _dotted_names(cls, value: Any) -> Any:
        """`spark.conf.spark.sql.shuffle.partitions=4` on the command line arrives as nested mappings."""
        return dict(_leaves(value, ())) if isinstance(value, dict) else value


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, below in value.items():
        if isinstance(below, Mapping):
            yield from _leaves(below, (*path, str(key)))
        else:
            yield ".".join((*path, str(key))), below


class TableSource(Settings):
    """One of the user's own tables, for use in relations."""

    path: str = Field(description="a file or folder that every executor can read")
    format: Literal["csv", "parquet"] = Field("csv", description="CSV needs a header line; every column is a string")
    separator: str = Field(",", min_length=1, description="separator of the fields of a CSV line")


class SourceColumns(Settings):
    """Column names of the ratings and movie tables of format table."""

    user: str = Field("user_id", description="the user's id")
    movie: str = Field("movie_id", description="the movie's id, in both tables")
    rating: str = Field("rating", description="the rating, a number")
    timestamp: str = Field("timestamp", description="time of the rating, in seconds since 1970")
    title: str = Field("title", description="the movie's title")
    genres: str = Field("genres", description="the movie's genres")


class SourceSettings(Settings):
    """The ratings: MovieLens in any dialect, or a table of your own."""

    path: str = Field(
        description="folder of a MovieLens data set, or the ratings table for format table", examples=["data/ml-1m"]
    )
    format: Literal["auto", "ml-latest", "ml-1m", "ml-100k", "table"] = Field(
        "auto", description="the dialect; auto finds it by the file names"
    )
    encoding: Literal["auto", "utf-8", "iso-8859-1", "windows-1252"] = Field(
        "auto", description="encoding of text files; auto takes the published encoding of the dialect"
    )
    ids: Literal["integer", "string"] = Field("integer", description="type of user and movie ids in CSV tables")
    columns: SourceColumns = Field(default_factory=SourceColumns)
    movies: str | None = Field(None, description="the movie table of format table (CSV or Parquet), if there is one")
    tables: dict[str, TableSource] = Field(default_factory=dict, description="further tables for relations, by name")


class CleanSettings(Settings):
    """The rules for ratings. A rating that breaks a rule goes to the quarantine table with the rule's name."""

    rating_min: float | None = Field(None, description="lowest rating; null takes the dialect's")
    rating_max: float | None = Field(None, description="highest rating; null takes the dialect's")
    rating_step: float | None = Field(None, gt=0, description="step of the scale; null takes the dialect's")
    timestamp_min: int = Field(0, ge=0, description="earliest time, in seconds since 1970")
    timestamp_max: int = Field(4_102_444_799, ge=0, lt=2**40, description="latest time; the default ends 2099")
    unknown_movies: Literal["quarantine", "keep"] = Field(
        "quarantine", description="handling of ratings whose movie is not in the movie table"
    )
    max_quarantined_share: float = Field(0.01, ge=0, le=1, description="a larger fraction of bad lines stops the night")


class EndSettings(Settings):
    """One end of a relation."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="entity kind")
    column: str = Field(description="SQL expression over the table that gives the external id")


class RelationSettings(Settings):
    """The knowledge graph: each relation makes triples of a table by SQL expressions.

    Relations of a file are merged into these, key by key; `name: null` removes a relation.
    """

    table: str = Field(description="ratings, movies, users, tags, co_watched, or one of source.tables")
    head: EndSettings = Field(description="kind of the heads, or {kind, column}; user and movie have a default column")
    tail: EndSettings = Field(
        description="kind of the tails, or {kind, column}; other kinds' default column is their name"
    )
    where: str | None = Field(None, description="SQL condition on the table's rows")
    explode: str | None = Field(None, description="array column to split, one row per element")
    weight: str = Field("1.0", description="SQL expression: weight of a triple in the loss")
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
        description="random (a fraction), leave-one-out (the latest), per-user (8:1:1), time (the latest fraction), "
        "cold-users and cold-movies (all likes of a fraction of them), none",
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


class SegmentSettings(Settings):
    """A part of the users, and the part of the catalogue that is offered to them."""

    users: str = Field(description="SQL condition on the users: their columns, and ratings, their number of ratings")
    movies: str = Field(description="SQL condition on the movies: their columns, and ratings, their number of ratings")


class CandidateSettings(Settings):
    """The movies that may be recommended, and to which users: by default all movies to all users.

    Conditions are SQL over the columns of the table users or movies and `ratings`, the number of ratings. They may
    query source.tables in a subquery.
    """

    where: str | None = Field(None, description="condition on the movies")
    min_ratings: int = Field(0, ge=0, description="number of ratings that a movie must have")
    allow: str | None = Field(None, description="one of source.tables, with a column movie_id: only these movies")
    deny: str | None = Field(None, description="one of source.tables, with a column movie_id: never these movies")
    segments: dict[str, SegmentSettings] = Field(
        default_factory=dict,
        description="name: {users: condition, movies: condition}; a user is in the first segment that fits; users in "
        "no segment are offered every candidate",
    )

    @field_validator("segments")
    @classmethod
    def _names(cls, value: dict[str, SegmentSettings]) -> dict[str, SegmentSettings]:
        if REST in value:
            raise ValueError(f"{REST!r} is the name of the users who fit no segment; choose another one")
        return value

    @property
    def restrict(self) -> bool:
        """True if some users are offered less than the whole catalogue."""
        return self != CandidateSettings()
