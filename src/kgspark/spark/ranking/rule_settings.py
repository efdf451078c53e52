"""Settings of the business rules of recommendations."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kgspark.config import PlainName, Settings, SqlQuery, distinct_names


class BoostSettings(Settings):
    """A number per movie that changes every user's score of it; a missing number changes nothing."""

    add: SqlQuery | None = Field(None, description="SQL expression of the movies: a number that is added to the score")
    multiply: SqlQuery | None = Field(
        None,
        description="SQL expression of the movies: a number above 0 that the score is multiplied with; a score below 0 "
        "is divided by it, so more than 1 always lifts",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "BoostSettings":
        if (self.add is None) == (self.multiply is None):
            raise ValueError("expected either add or multiply")
        return self


class CapSettings(Settings):
    """At most so many movies of a group in a list."""

    per: SqlQuery = Field(
        description="SQL expression of the movies: the group, or an array of groups, such as genres; a movie without "
        "any is not limited"
    )
    rows: int = Field(ge=1, description="the most movies of one group in a list")


class DiversitySettings(Settings):
    """Maximal marginal relevance: what is like the movies above it comes later."""

    relevance: float | None = Field(
        None,
        ge=0,
        le=1,
        description="λ: weight of the score, scaled to 0 to 1 in the pool; 1 - λ is that of the largest cosine to a "
        "movie above; null orders by score",
    )
    pool: int = Field(300, ge=1, description="each user's best movies by score that it chooses from, at least k")


class ExploreSettings(Settings):
    """A share of the ranks for movies with few ratings, drawn anew each night."""

    share: float = Field(0.0, ge=0, le=1, description="share of a list's ranks, evenly spread; 0 for none")
    ratings: int = Field(10, ge=0, description="the most ratings of a movie that is drawn")
    seed: int = Field(42, ge=0, description="seed of the draw, with the user and run_date")


class RuleSettings(Settings):
    """Business rules of the recommendations, applied to the exact lists; docs/ranking.md says how.

    Expressions are SQL over the columns of the table movies, and over `ratings`, `likes` (numbers of a movie) and
    `age_days` (from its first rating to the newest of all). They may query source.tables in a subquery.
    """

    boosts: dict[PlainName, BoostSettings] = Field(
        default_factory=dict, description="name: {add: number} or {multiply: number}, by SQL of the movies"
    )
    at_most: dict[PlainName, CapSettings] = Field(
        default_factory=dict, description="name: {per: group, rows: number}, such as {per: genres, rows: 20}"
    )
    diversity: DiversitySettings = Field(default_factory=DiversitySettings)
    explore: ExploreSettings = Field(default_factory=ExploreSettings)

    @field_validator("boosts", "at_most")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        distinct_names(value)
        return value

    @property
    def boost_texts(self) -> list[tuple[str, str, Literal["add", "multiply"]]]:
        """The boosts in order: dotted key, SQL, and how the number changes the score."""
        found: list[tuple[str, str, Literal["add", "multiply"]]] = []
        for name, boost in self.boosts.items():
            if boost.add is not None:
                found.append((f"rules.boosts.{name}.add", boost.add, "add"))
            else:
                found.append((f"rules.boosts.{name}.multiply", str(boost.multiply), "multiply"))
        return found

    @property
    def looks_at_movies(self) -> bool:
        """True if a rule needs numbers or groups of the movies."""
        return bool(self.boosts or self.at_most or self.explore.share)

    @property
    def active(self) -> bool:
        """True if a rule changes lists."""
        return self.looks_at_movies or self.diversity.relevance is not None
