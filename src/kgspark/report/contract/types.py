"""The types of published columns, by their names in SQL and in ODCS."""

import pyarrow as pa

from kgspark.ranking_schemas import DS_TYPE

SQL_TYPES = {
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.float32(): "float",
    pa.string(): "string",
    DS_TYPE: "string",
}
LOGICAL_TYPES = {
    pa.int64(): "integer",
    pa.int32(): "integer",
    pa.float32(): "number",
    pa.string(): "string",
    DS_TYPE: "string",
}
