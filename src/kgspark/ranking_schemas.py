"""The Arrow schemas between Spark and a ranking task: the stream of queries, the ranked files, and the task's answer.

Spark writes the stream and reads the answers; `retrieval` reads the stream and writes the answers. Neither imports the
other, so both take names and types from this module.
"""

import pyarrow as pa

from kgspark.tables import RECOMMENDATIONS, Columns

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


def ranked_schema(table: str, id_type: str) -> pa.Schema:
    """The schema of every file of a ranked table, for external ids of a type in `ID_TYPES`."""
    recommends = table == RECOMMENDATIONS
    query, item = (Columns.USER_ID, Columns.MOVIE_ID) if recommends else (Columns.MOVIE_ID, Columns.USER_ID)
    reason = {Columns.REASON: ID_TYPES[id_type]} if recommends else {}
    return pa.schema(
        {
            query: ID_TYPES[id_type],
            Columns.RANK: pa.int32(),
            item: ID_TYPES[id_type],
            Columns.SCORE: pa.float32(),
            Columns.SOURCE: pa.string(),
            **reason,
            Columns.MODEL_ID: pa.string(),
            Columns.DS: DS_TYPE,
        }
    )


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
