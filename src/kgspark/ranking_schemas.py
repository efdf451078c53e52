"""The Arrow schemas between Spark and a ranking task: the stream of queries, the ranked files, and the task's answer.

Spark writes the stream and reads the answers; `retrieval` reads the stream and writes the answers. Neither imports the
other, so both take names and types from this module.
"""

from dataclasses import dataclass

import pyarrow as pa

from kgspark.names import OURS, Names
from kgspark.tables import AUDIENCES, RECOMMENDATIONS, ROW_SOURCES, SIMILAR_ITEMS, Columns

# Arrow's types of external ids, by Spark's name of the same type.
ID_TYPES: dict[str, pa.DataType] = {"bigint": pa.int64(), "string": pa.string()}
# The type that pandas and pyarrow give to `ds=...` in the name of a folder. With the same type in the files, they read
# a table's folder as a whole.
DS_TYPE = pa.dictionary(pa.int32(), pa.string())


class QueryColumns:
    """Columns of the stream of queries: one header row per query, then one row per entity that the query has seen.

    DIRECTION  int32: number of the ranked table that the query belongs to
    POSITION   int64: position of the query's entity inside its kind
    QUERY_ID   bigint or string: external id of the query's entity; null on all rows but the header
    SEEN       int64: position of a seen entity inside the ranked kind; null on the header
    LIKED      bool: true if the seen entity may be the reason of a recommendation; null on the header
    """

    DIRECTION, POSITION, QUERY_ID = "direction", Columns.POSITION, "query_id"
    SEEN, LIKED = "seen", "liked"


def query_schema(id_type: str) -> pa.Schema:
    """The schema of the stream of queries, for external ids of a type in `ID_TYPES`."""
    return pa.schema(
        {
            QueryColumns.DIRECTION: pa.int32(),
            QueryColumns.POSITION: pa.int64(),
            QueryColumns.QUERY_ID: ID_TYPES[id_type],
            QueryColumns.SEEN: pa.int64(),
            QueryColumns.LIKED: pa.bool_(),
        }
    )


# What each ranked table holds, for its readers; `Names.fill` completes the texts.
MEANINGS = {
    RECOMMENDATIONS: "for each {user}, the best {movies} that the {user} has not rated or seen",
    AUDIENCES: "for each {movie}, the best {users} who have not rated or seen it",
    SIMILAR_ITEMS: "for each {movie}, the {movies} that are most like it by the model",
}
_SCORES = {
    RECOMMENDATIONS: "score of the model; popular {movies} have numbers of likes",
    AUDIENCES: "score of the model, comparable between {users}",
    SIMILAR_ITEMS: "cosine of the model's vectors of both {movies}, at most 1",
}


@dataclass(frozen=True)
class RankedColumn:
    """A column of a ranked table.

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


def ranked_columns(table: str, id_type: str) -> tuple[RankedColumn, ...]:
    """The columns of a ranked table in their order, for external ids of a type in `ID_TYPES`."""
    ids, recommends = ID_TYPES[id_type], table == RECOMMENDATIONS
    user = RankedColumn(Columns.USER_ID, ids, "id of the {user}, as in the source", key=recommends)
    movie = RankedColumn(Columns.MOVIE_ID, ids, "id of the {movie}, as in the source", key=not recommends)
    similar = RankedColumn(Columns.SIMILAR, ids, "id of the similar {movie}, as in the source")
    query, item = {RECOMMENDATIONS: (user, movie), AUDIENCES: (movie, user), SIMILAR_ITEMS: (movie, similar)}[table]
    reason = "id of the liked {movie} that is most similar to the recommended one; null if there is none"
    return (
        query,
        RankedColumn(Columns.RANK, pa.int32(), "place in the list, from 1", key=True),
        item,
        RankedColumn(Columns.SCORE, pa.float32(), _SCORES[table]),
        RankedColumn(Columns.SOURCE, pa.string(), f"what ranked the row: {', '.join(ROW_SOURCES)}"),
        *([RankedColumn(Columns.REASON, ids, reason, nullable=True)] if recommends else []),
        RankedColumn(Columns.MODEL_ID, pa.string(), "model that the scores are of"),
        RankedColumn(Columns.DS, DS_TYPE, "date of the night, YYYY-MM-DD; the partition", key=True),
    )


def ranked_schema(table: str, id_type: str, names: Names = OURS) -> pa.Schema:
    """The schema of every file of a ranked table, for external ids of a type in `ID_TYPES`."""
    return pa.schema({names.column(column.name): column.type for column in ranked_columns(table, id_type)})


# A task's answer: one row for the file that it wrote. name, bytes, sha256 and rows are those of `files.DataFile`, and
# `total` is the sum of the hashes of its rows (see `content.sum_of_rows`). The exact lists of a sample of the queries
# have `listed` rows, and `found` of these rows are in the file.
FILE_DESCRIPTION = pa.schema(
    {
        QueryColumns.DIRECTION: pa.int32(),
        "name": pa.string(),
        "bytes": pa.int64(),
        "sha256": pa.string(),
        "rows": pa.int64(),
        "total": pa.int64(),
        "listed": pa.int64(),
        "found": pa.int64(),
    }
)
