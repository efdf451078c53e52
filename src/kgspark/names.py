"""A team's own words for users, movies and genres, and its own column names in the published tables."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from kgspark.config import Settings, SqlName
from kgspark.tables import Columns

# The columns of published tables whose names are fixed.
_FIXED = (
    *(Columns.RANK, Columns.SCORE, Columns.SOURCE, Columns.VECTOR, Columns.MODEL_ID, Columns.DS),
    *(Columns.REASON_RELATION, Columns.REASON_ENTITY, Columns.REASON_TEXT),
)


def _word(text: str) -> str:
    if not re.fullmatch(r"\w(?:[\w -]*\w)?", text):
        raise ValueError("expected a word of letters, digits, blanks, _ and -")
    return text


Word = Annotated[str, AfterValidator(_word)]


def _made_of(form: str) -> Any:
    """A default that is made of the values before it, such as `{user}s`."""
    ours: dict[str, Any] = {"user": "user", "movie": "movie", "genre": "genre", "movie_id": Columns.MOVIE_ID}
    return lambda given: form.format(**ours | given)


class Names(Settings):
    """Your own words for users, movies and genres, and your own columns of ids.

    Published tables, audit.own, messages, reports and the contract have them. The tables in the night's folder and the
    SQL over them (relations, candidates) keep kgspark's names; source.columns says what yours are called.
    """

    user: Word = Field("user", description="the word for one user, such as customer")
    users: Word = Field(default_factory=_made_of("{user}s"), description="for several; the default adds an s")
    movie: Word = Field("movie", description="the word for one movie, such as sku")
    movies: Word = Field(default_factory=_made_of("{movie}s"), description="for several; the default adds an s")
    genre: Word = Field("genre", description="the word for one genre, such as category")
    genres: Word = Field(default_factory=_made_of("{genre}s"), description="for several; the default adds an s")
    user_id: SqlName = Field(
        default_factory=_made_of("{user}_id"),
        validate_default=True,
        description="published column of a user's id; the default adds _id to the word",
    )
    movie_id: SqlName = Field(
        default_factory=_made_of("{movie}_id"),
        validate_default=True,
        description="published column of a movie's id; the default adds _id to the word",
    )
    reason_movie_id: SqlName = Field(
        default_factory=_made_of("reason_{movie_id}"),
        validate_default=True,
        description="published column of the movie that is the reason; the default puts reason_ before movie_id",
    )
    similar_movie_id: SqlName = Field(
        default_factory=_made_of("similar_{movie_id}"),
        validate_default=True,
        description="published column of a similar movie; the default puts similar_ before movie_id",
    )

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> "Names":
        # SQL does not tell names apart that differ by their case alone.
        taken = {name: name for name in _FIXED}
        for ours, own in self.columns.items():
            if own.casefold() in taken:
                raise ValueError(f"{ours}: {own!r} is the column {taken[own.casefold()]} too; choose another name")
            taken[own.casefold()] = ours
        return self

    @property
    def columns(self) -> Mapping[str, str]:
        """Your names of published columns, by kgspark's; the other columns have the same name."""
        return {
            Columns.USER_ID: self.user_id,
            Columns.MOVIE_ID: self.movie_id,
            Columns.REASON: self.reason_movie_id,
            Columns.SIMILAR: self.similar_movie_id,
        }

    def column(self, ours: str) -> str:
        """Your name of any column of a published table."""
        return self.columns.get(ours, ours)

    def of_kind(self, kind: str) -> str:
        """Your word for one entity of a kind; kinds of your own relations have their name."""
        return {"user": self.user, "movie": self.movie, "genre": self.genre}.get(kind, kind)

    def fill(self, text: str) -> str:
        """A text of a table of texts with your words in place of `{user}`, `{users}`, `{movie}` and so on."""
        return re.sub(r"\{(user|movie|genre)(s?)\}", lambda found: str(getattr(self, found[1] + found[2])), text)


# The names of a night that sets none.
OURS = Names()
