"""The schemas between Spark and a ranking task hold every id and position that the tables may have."""

import pyarrow as pa
import pytest

from kgspark.ranking_schemas import QueryColumns, query_schema


@pytest.mark.parametrize(("id_type", "ids"), [("bigint", [2**63 - 1, -(2**63)]), ("string", ["user 1", "é"])])
def test_the_stream_of_queries_holds_every_id(id_type: str, ids: list[object]) -> None:
    schema = query_schema(id_type)
    assert pa.array(ids, schema.field(QueryColumns.QUERY_ID).type).to_pylist() == ids
    for name in (QueryColumns.POSITION, QueryColumns.SEEN):
        assert pa.array([2**40], schema.field(name).type).to_pylist() == [2**40]
