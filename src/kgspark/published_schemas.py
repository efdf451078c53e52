"""The columns of the tables that a night publishes, with what each holds, for files, targets, audit and contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from kgspark.names import OURS, Names
from kgspark.search_space import Scoring
from kgspark.tables import (
    AUDIENCES,
    MOVIE_VECTORS,
    POPULAR_SOURCES,
    RECOMMENDATIONS,
    SIMILAR_ITEMS,
    SOURCES,
    USER_VECTORS,
    VECTORS,
    Columns,
)

# Arrow's types of external ids, by Spark's name of the same type.
ID_TYPES: dict[str, pa.DataType] = {"bigint": pa.int64(), "string": pa.string()}
# The type that pandas and pyarrow give to `ds=...` in the name of a folder. With the same type in the files, they read
# a table's folder as a whole.
DS_TYPE = pa.dictionary(pa.int32(), pa.string())
# A vector where its length is not a part of the type. Parquet's name of a list's values is `element`.
_NUMBER = pa.field("element", pa.float32())
VECTOR_TYPE = pa.list_(_NUMBER)

# What each published table holds, for its readers; `Names.fill` completes the texts.
MEANINGS = {
    RECOMMENDATIONS: "for each {user}, the best {movies} that the {user} has not rated or seen",
    AUDIENCES: "for each {movie}, the best {users} who have not rated or seen it",
    SIMILAR_ITEMS: "for each {movie}, the {movies} that are most like it by the model",
    USER_VECTORS: "for each {user}, the query vector that recommendations are ranked by",
    MOVIE_VECTORS: "for each {movie}, the item vector that recommendations are ranked by",
}
_SCORES = {
    RECOMMENDATIONS: "score of the model; popular {movies} have numbers of likes",
    AUDIENCES: "score of the model, comparable between {users}",
    SIMILAR_ITEMS: "cosine of the model's vectors of both {movies}, at most 1",
}
_HOW = "how to rank by it is in the metadata of each Parquet file, as kgspark.rank_by"


@dataclass(frozen=True)
class Extras:
    """What recommendations have only if it is configured.

    facts, texts  the columns of reasons as facts and as text
    placed        the sources of rows that business rules place
    """

    facts: bool = False
    texts: bool = False
    placed: tuple[str, ...] = ()


PLAIN = Extras()


@dataclass(frozen=True)
class PublishedColumn:
    """A column of a published table.

    name     ours; `Names.column` gives that of the files
    meaning  a text for readers of the table, with words to fill in by `Names.fill`
    key      True if it is part of the primary key
    nullable True if a value may be missing
    """

    name: str
    type: pa.DataType
    meaning: str
    key: bool = False
    nullable: bool = False


def published_columns(
    table: str, id_type: str, scoring: Scoring | None = None, extras: Extras = PLAIN
) -> tuple[PublishedColumn, ...]:
    """The columns of a published table in their order, for external ids of a type in `ID_TYPES`.

    scoring  how vectors are scored; None if no night has told it yet
    """
    columns = _of_vectors(table, id_type, scoring) if table in VECTORS else _of_lists(table, id_type, extras)
    return (
        *columns,
        PublishedColumn(Columns.MODEL_ID, pa.string(), "model that the row is of"),
        PublishedColumn(Columns.DS, DS_TYPE, "date of the night, YYYY-MM-DD; the partition", key=True),
    )


def _of_lists(table: str, id_type: str, extras: Extras) -> tuple[PublishedColumn, ...]:
    ids, recommends = ID_TYPES[id_type], table == RECOMMENDATIONS
    user = PublishedColumn(Columns.USER_ID, ids, "id of the {user}, as in the source", key=recommends)
    movie = PublishedColumn(Columns.MOVIE_ID, ids, "id of the {movie}, as in the source", key=not recommends)
    similar = PublishedColumn(Columns.SIMILAR, ids, "id of the similar {movie}, as in the source")
    query, item = {RECOMMENDATIONS: (user, movie), AUDIENCES: (movie, user), SIMILAR_ITEMS: (movie, similar)}[table]
    reason = "id of the liked {movie} that is most similar to the recommended one; null if there is none"
    return (
        query,
        PublishedColumn(Columns.RANK, pa.int32(), "place in the list, from 1", key=True),
        item,
        PublishedColumn(Columns.SCORE, pa.float32(), _SCORES[table]),
        PublishedColumn(Columns.SOURCE, pa.string(), f"what ranked the row: {', '.join(sources_of(table, extras))}"),
        *([PublishedColumn(Columns.REASON, ids, reason, nullable=True), *_of_reasons(extras)] if recommends else []),
    )


def _of_reasons(extras: Extras) -> Iterator[PublishedColumn]:
    relation = "relation of the rarest fact that the {movie} shares with its reason; null if there is none"
    names = {Columns.REASON_RELATION: relation, Columns.REASON_ENTITY: "id of what both have by this relation"}
    for name, meaning in names.items() if extras.facts else ():
        yield PublishedColumn(name, pa.string(), meaning, nullable=True)
    if extras.texts:
        yield PublishedColumn(Columns.REASON_TEXT, pa.string(), "the reason as text", nullable=True)


def _of_vectors(table: str, id_type: str, scoring: Scoring | None) -> tuple[PublishedColumn, ...]:
    kind, name = {USER_VECTORS: ("user", Columns.USER_ID), MOVIE_VECTORS: ("movie", Columns.MOVIE_ID)}[table]
    of_kind = f"vector of the {{{kind}}}"
    numbers, how = ("float32 numbers", _HOW) if scoring is None else (f"{scoring.dimension} numbers", scoring.rank_by)
    return (
        PublishedColumn(name, ID_TYPES[id_type], f"id of the {{{kind}}}, as in the source", key=True),
        PublishedColumn(
            Columns.VECTOR,
            VECTOR_TYPE if scoring is None else pa.list_(_NUMBER, scoring.dimension),
            f"{of_kind}, {numbers}; {how}",
        ),
        PublishedColumn(Columns.SOURCE, pa.string(), f"origin of the vector: {', '.join(sources_of(table))}"),
    )


def sources_of(table: str, extras: Extras = PLAIN) -> tuple[str, ...]:
    """The values that the column `source` of a published table may have."""
    placed = extras.placed if table == RECOMMENDATIONS else ()
    return SOURCES if table in VECTORS else (*SOURCES, *POPULAR_SOURCES, *placed)


def published_schema(
    table: str, id_type: str, names: Names = OURS, scoring: Scoring | None = None, extras: Extras = PLAIN
) -> pa.Schema:
    """The schema of every file of a published table, for external ids of a type in `ID_TYPES`.

    scoring  how vectors are scored, which the files of vectors have as metadata
    """
    columns = published_columns(table, id_type, scoring, extras)
    metadata = scoring.as_metadata() if scoring is not None and table in VECTORS else None
    return pa.schema({names.column(column.name): column.type for column in columns}, metadata)


def described(
    table: str, id_type: str, names: Names = OURS, scoring: Scoring | None = None, extras: Extras = PLAIN
) -> Mapping[str, object]:
    """What a published table and its columns hold, in the words and names of `names`, for its manifest."""
    columns = published_columns(table, id_type, scoring, extras)
    meanings = {names.column(column.name): names.fill(column.meaning) for column in columns}
    return {"table": names.fill(MEANINGS[table]), "columns": meanings}
