"""Settings of the ranking stage: how many movies a user gets, and how many users a movie gets."""

from pydantic import Field

from kgspark.config import Settings


class RecommendSettings(Settings):
    """The `recommend` section: every user's top-K unseen movies."""

    k: int = Field(default=100, ge=1, description="movies recommended to each user")
    block: int = Field(
        default=4096,
        ge=1,
        description="users ranked at a time; bounds the memory of a task, and never changes the result",
    )
    rows_per_file: int = Field(default=5_000_000, ge=1, description="rows of a written Parquet file, at most")


class AudienceSettings(Settings):
    """The `audiences` section: every movie's top-K users who have not seen it."""

    enabled: bool = Field(default=True, description="whether the audiences table is written")
    k: int = Field(default=100, ge=1, description="users listed for each movie")
