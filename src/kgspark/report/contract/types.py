"""The types of published columns, by their names in SQL and in ODCS."""

from typing import Any

import pyarrow as pa

from kgspark.published_schemas import DS_TYPE

_SQL_TYPES = {
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.float32(): "float",
    pa.string(): "string",
    DS_TYPE: "string",
}
_LOGICAL_TYPES = {
    pa.int64(): "integer",
    pa.int32(): "integer",
    pa.float32(): "number",
    pa.string(): "string",
    DS_TYPE: "string",
}


def sql_type(kind: pa.DataType) -> str:
    """The name of a column's type in SQL; that of a vector does not tell its length."""
    return f"array<{sql_type(kind.value_type)}>" if _is_list(kind) else _SQL_TYPES[kind]


def odcs_type(kind: pa.DataType) -> dict[str, Any]:
    """The type of a column as keys of ODCS."""
    if not _is_list(kind):
        return {"logicalType": _LOGICAL_TYPES[kind], "physicalType": sql_type(kind)}
    items = {"name": kind.value_field.name, **odcs_type(kind.value_type)}
    length = kind.list_size if pa.types.is_fixed_size_list(kind) else None
    options = {"logicalTypeOptions": {"minItems": length, "maxItems": length}} if length else {}
    return {"logicalType": "array", **options, "physicalType": sql_type(kind), "items": items}


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))
