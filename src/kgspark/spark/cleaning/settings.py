"""Settings of cleaning: the source, and the rules that a rating must pass."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from kgspark.config import (
    IN_FILE,
    Settings,
    Sql,
    SqlName,
    distinct_names,
    dotted_names,
    from_environment,
    refuse_written_secrets,
)
from kgspark.stores.uris import checked_uri, is_uri
from kgspark.tables import CO_WATCHED, WRITTEN_BY

# The formats whose columns are named in source.columns.
_OWN_COLUMNS = ("table", "spark")
# The types of a pair are the bits of one number.
_MOST_TYPES = 62
# What databases, pandas and spreadsheets write for a missing value.
NULL_TEXTS = ("NULL", "null", r"\N", "nan", "NaN", "None", "<NA>", "N/A")


class Location(Settings):
    """The place of a table: files that kgspark reads itself, or whatever Spark opens.

    Spark opens it if `table` is given, or if `format` is `spark`.
    """

    path: Annotated[str, IN_FILE] = Field(
        description="a file, folder or pattern, as a path or a URI (s3://, gs:// or abfss://); for format spark, the "
        "path of the reader, if it takes one"
    )
    format: str = Field("table", description="table (CSV or Parquet files) or spark")
    reader: str | None = Field(
        None, description="format spark: Spark's reader, such as jdbc, delta, iceberg, avro, orc or json"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="options of the reader, by its own names; ${ENV:NAME} in a value is an environment variable, and "
        "passwords are given in no other way",
    )
    table: str | None = Field(
        None,
        pattern=r"^(\w+|`[^`]+`)(\.(\w+|`[^`]+`))*$",
        description="a table in Spark's catalogue, such as db.table or catalog.db.table; needs neither path nor reader",
    )
    version: str | None = Field(
        None,
        description="column of a table that Spark opens, whose maximum or number of rows grows with every change; null "
        "takes the version of a Delta or Iceberg table, and reads others anew each time",
    )

    @model_validator(mode="before")
    @classmethod
    def _needs_no_path(cls, value: Any) -> Any:
        by_spark = isinstance(value, dict) and (value.get("table") is not None or value.get("format") == "spark")
        return {"path": "", **value} if by_spark else value

    @field_validator("options", mode="before")
    @classmethod
    def _dotted_names(cls, value: Any) -> Any:
        return dotted_names(value)

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_written_secrets(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> "Location":
        if self.table is not None and (self.path or self.reader is not None):
            raise ValueError("expected table alone, without path and reader")
        if self.format == "spark" and self.table is None and self.reader is None:
            raise ValueError("format spark needs a reader, such as jdbc, or a table")
        if not self.by_spark and (self.reader is not None or self.options or self.version is not None):
            raise ValueError("reader, options and version need format: spark")
        if not self.by_spark and is_uri(self.path):
            checked_uri(self.path)
        return self

    @property
    def by_spark(self) -> bool:
        """True if Spark opens the table."""
        return self.table is not None or self.format == "spark"

    @property
    def name(self) -> str:
        """The table in messages: without its address, which may be long."""
        by_name = {key.lower(): value for key, value in self.options.items()}
        return self.table or str(by_name.get("dbtable") or self.path or self.reader)

    def resolved_options(self, key: str) -> dict[str, Any]:
        """`options` with the values of environment variables; `key` is the dotted key of the location."""
        return from_environment(f"{key}.options", self.options)


class MovieTable(Location):
    """The movie table of format table or spark."""

    path: Annotated[str, IN_FILE] = Field(
        description="a file, folder or pattern, of CSV or Parquet; a path or a URI, as source.path"
    )
    format: Literal["table", "spark"] = Field(
        "table", description="table: CSV or Parquet files; spark: see source.reader"
    )


class TableSource(Location):
    """One of the user's own tables, for use in relations and candidates."""

    path: Annotated[str, IN_FILE] = Field(
        description="a file, folder or pattern: a path on a disk that every executor can read, or a URI, as source.path"
    )
    format: Literal["csv", "parquet", "spark"] = Field(
        "csv", description="CSV needs a header line, and every column is a string; spark: see source.reader"
    )
    separator: str = Field(",", min_length=1, description="separator of the fields of a CSV line")
    encoding: Literal["utf-8", "iso-8859-1", "windows-1252"] = Field("utf-8", description="encoding of a CSV file")
    stop_at_unknown_share: float | None = Field(
        1.0,
        gt=0,
        le=1,
        description="fraction of rows whose id names no user or movie, at which the night stops; null: it goes on",
    )


class SourceColumns(Settings):
    """Column names of the ratings and movie tables of format table."""

    user: str = Field("user_id", description="the user's id")
    movie: str = Field("movie_id", description="the movie's id")
    rating: str | None = Field(
        "rating",
        description="the rating, a number; null: lines are events, and source.event_rating makes the rating",
    )
    event: str | None = Field(None, description="the type of an event, one of source.events")
    count: str | None = Field(None, description="a number that an event has, such as plays or seconds")
    timestamp: str | None = Field(
        "timestamp",
        description="time of the rating, in the unit source.timestamp_unit; null: no time is known, and what needs "
        "times is off",
    )
    movies_id: str | None = Field(None, description="the movie's id in the movie table; null: as in the ratings")
    title: str = Field("title", description="the movie's title")
    genres: str = Field("genres", description="the movie's genres")

    @model_validator(mode="after")
    def _ratings_or_events(self) -> Self:
        if self.rating is not None and (self.event, self.count) != (None, None):
            raise ValueError("event and count belong to lines without ratings; set rating to null")
        return self


class SourceSettings(Location):
    """The ratings: MovieLens in any dialect, or a table of your own."""

    path: Annotated[str, IN_FILE] = Field(
        description="folder of a MovieLens data set, or the ratings table for format table: a file, a folder with its "
        "sub-folders, or a pattern such as in/*.csv; a path, or a URI: s3://, gs:// or abfss://",
        examples=["../data/ml-1m"],
    )
    format: Literal["auto", "ml-latest", "ml-1m", "ml-100k", "table", "spark"] = Field(
        "auto",
        description="a dialect of MovieLens, which auto finds by the file names; table for CSV and Parquet files; "
        "spark for what a reader of Spark opens",
    )
    encoding: Literal["auto", "utf-8", "iso-8859-1", "windows-1252"] = Field(
        "auto", description="encoding of text files; auto takes the published encoding of the dialect"
    )
    separator: str | None = Field(
        None, min_length=1, description="separator in CSV tables; null finds a comma, semicolon, tab or | by the header"
    )
    header: tuple[str, ...] | None = Field(
        None, description="names of the ratings' fields, in order, for CSV files that have no header line"
    )
    ids: Literal["integer", "string"] = Field(
        "integer", description="type of user and movie ids; text columns of Parquet tables are strings in any case"
    )
    null_texts: tuple[str, ...] = Field(NULL_TEXTS, description="texts that stand for a missing id or genre")
    timestamp_unit: Literal["auto", "seconds", "milliseconds", "microseconds", "nanoseconds", "iso"] = Field(
        "auto",
        description="unit of times since 1970; iso for times such as 2020-09-13 12:43:40; auto finds it if the times "
        "look like one of them only. Parquet's own types need none",
    )
    timezone: str = Field(
        "UTC",
        description="time zone of times that name none, and of run_date, such as Europe/Berlin: a night reads nothing "
        "that is later than the end of its date there",
    )
    decimal: Literal[".", ","] = Field(".", description="character before the fraction of a rating")
    columns: SourceColumns = Field(default_factory=SourceColumns)
    events: dict[str, float | None] = Field(
        default_factory=dict,
        description="each type of event with its value, such as {view: 1, cart: 3, purchase: 5}; null leaves events of "
        "the type out",
    )
    event_rating: Sql = Field(
        "value * count",
        description="SQL expression that makes an event's rating; value is that of its type, count the number in "
        "source.columns.count, each 1 if there is none, and event is the type",
    )
    genre_separator: str = Field("|", min_length=1, description="separator of the genres of a movie")
    movies: Annotated[MovieTable | None, IN_FILE] = Field(
        None,
        description="the movie table of format table or spark, if there is one: its path, or a section with path, "
        "format, reader, options, table and version as above",
    )
    tables: dict[SqlName, TableSource] = Field(
        default_factory=dict, description="further tables for relations and candidates, by name"
    )

    @field_validator("movies", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("tables")
    @classmethod
    def _names(cls, value: dict[str, TableSource]) -> dict[str, TableSource]:
        distinct_names(value, taken=(*WRITTEN_BY, CO_WATCHED))
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if value != "UTC" and value not in available_timezones():
            raise ValueError("expected an IANA time zone such as UTC or Europe/Berlin")
        return value

    @property
    def has_own_columns(self) -> bool:
        """True if the columns are those of `columns`; False for MovieLens."""
        return self.format in _OWN_COLUMNS

    @property
    def has_events(self) -> bool:
        """True if the lines are events, which have no rating of their own."""
        return self.columns.rating is None

    @property
    def has_times(self) -> bool:
        """True if the lines have times."""
        return self.columns.timestamp is not None

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        for key, is_there in (("rating", not self.has_events), ("timestamp", self.has_times)):
            if not is_there and not self.has_own_columns:
                raise ValueError(
                    f"columns.{key}: null needs a format with columns of your own: {' or '.join(_OWN_COLUMNS)}"
                )
        if bool(self.events) != (self.columns.event is not None):
            raise ValueError("events and columns.event belong together: the types with their values, and their column")
        if self.events and all(value is None for value in self.events.values()):
            raise ValueError("events: expected a value for one type or more, or every event is left out")
        if sum(value is not None for value in self.events.values()) > _MOST_TYPES:
            raise ValueError(f"events: expected at most {_MOST_TYPES} types with a value")
        return self


def has_column(source: Any, key: str) -> bool:
    """False if the section `source`, as a file gives it, says `columns.KEY: null`. The section may be wrong."""
    columns = source.get("columns") if isinstance(source, Mapping) else None
    return not isinstance(columns, Mapping) or columns.get(key, "") is not None


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
    unfinished_last_line: Literal["auto", "keep", "quarantine"] = Field(
        "auto",
        description="handling of a last line of ratings that has no line end; auto refuses it if its last field is "
        "shorter than that of the line before",
    )
    repeated: Literal["latest", "strongest", "sum"] | None = Field(
        None,
        description="what several lines of one user and movie make: the latest counts, the one with the highest rating "
        "(of these the latest), or the sum of all with the latest time; null: latest, or strongest for events and "
        "without times",
    )
    incremental: bool = Field(
        True,
        description="take over the clean rows of files that have not changed since the last night, and clean new ones; "
        "the tables are the same. false cleans all files",
    )
    min_share_of_last_night: float = Field(
        0.5, ge=0, le=1, description="fewer ratings, users or movies than this fraction of the last night's stop it"
    )
    refused_are_seen: bool = Field(
        True, description="keep a movie out of a user's list if its rating was refused for its value or time"
    )
    max_quarantined_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="a larger fraction of bad lines stops the night: of all lines, or of those of the new files if "
        "100 or more of them are bad",
    )
