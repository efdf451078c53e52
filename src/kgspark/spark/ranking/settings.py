"""Settings of the candidates: who may be recommended what."""

from pydantic import Field, field_validator

from kgspark.config import PlainName, Settings, SqlQuery, distinct_names

# The segment of the users who fit no other segment.
REST = "rest"


class SegmentSettings(Settings):
    """A part of the users, and the part of the catalogue that is offered to them."""

    users: SqlQuery = Field(
        description="SQL condition on the users: their columns, and ratings, their number of ratings"
    )
    movies: SqlQuery = Field(
        "true", description="SQL condition on the movies: their columns, and ratings, their number of ratings"
    )
    deny: str | None = Field(None, description="one of source.tables, with a column movie_id: never these movies")
    pinned: str | None = Field(
        None, description="one of source.tables, with a column movie_id: these movies come before candidates.pinned"
    )


class CandidateSettings(Settings):
    """The movies that may be recommended, and to which users: by default all movies to all users.

    Conditions are SQL over the columns of the table users or movies and `ratings`, the number of ratings. They may
    query source.tables in a subquery.
    """

    where: SqlQuery | None = Field(None, description="SQL condition on the movies")
    min_ratings: int = Field(0, ge=0, description="number of ratings that a movie must have")
    min_likes: int = Field(0, ge=0, description="number of likes (train.target) that a movie must have")
    allow: str | None = Field(None, description="one of source.tables, with a column movie_id: only these movies")
    deny: str | None = Field(None, description="one of source.tables, with a column movie_id: never these movies")
    pinned: str | None = Field(
        None,
        description="one of source.tables, with a column movie_id: these movies come first, in the order of its column "
        "place, if it has one, and by id; if a user is offered them, and has not seen them",
    )
    segments: dict[PlainName, SegmentSettings] = Field(
        default_factory=dict,
        description="name: {users: condition, movies: condition}; a user is in the first segment that fits; users in "
        "no segment are offered every candidate",
    )

    @field_validator("segments")
    @classmethod
    def _names(cls, value: dict[str, SegmentSettings]) -> dict[str, SegmentSettings]:
        distinct_names(value)
        if REST in value:
            raise ValueError(f"{REST!r} is the name of the users who fit no segment; choose another one")
        return value

    @property
    def lists(self) -> dict[str, str]:
        """The tables of movie ids that are named, by dotted key below `candidates`."""
        named = {"deny": self.deny, "allow": self.allow, "pinned": self.pinned}
        for name, segment in self.segments.items():
            named |= {f"segments.{name}.deny": segment.deny, f"segments.{name}.pinned": segment.pinned}
        return {key: table for key, table in named.items() if table is not None}

    @property
    def pins(self) -> bool:
        """True if movies are pinned for some users."""
        return any(key.endswith("pinned") for key in self.lists)

    @property
    def restrict(self) -> bool:
        """True if some users are offered less than the whole catalogue."""
        return self != CandidateSettings()
