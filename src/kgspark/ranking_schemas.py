"""The Arrow schemas between Spark and a task that writes published files: the stream of queries, and the answer.

Spark writes the stream and reads the answers; `retrieval` reads the stream and writes the answers. Neither imports the
other, so both take names and types from this module.
"""

import pyarrow as pa

from kgspark.published_schemas import ID_TYPES
from kgspark.tables import Columns


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


# A task's answer: one row for the file that it wrote. name, bytes, sha256 and rows are those of `files.DataFile`, and
# `total` is the sum of the hashes of its rows (see `content.sum_of_rows`). The exact lists of a sample of the queries
# have `listed` rows, and `found` of these rows are in the file; both are 0 for vectors. `direction` is the number of
# the table, here and in the stream.
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
