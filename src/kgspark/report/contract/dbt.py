"""The contract as sources of dbt from 1.10.5 on, https://docs.getdbt.com/reference/source-properties."""

from collections.abc import Sequence
from typing import Any

from kgspark.published_schemas import PublishedColumn
from kgspark.report.contract.settings import ContractSettings
from kgspark.report.contract.tables import PublishedTable
from kgspark.report.contract.types import sql_type
from kgspark.tables import Columns


def dbt_sources(settings: ContractSettings, tables: Sequence[PublishedTable]) -> dict[str, Any]:
    """The content of sources.yml as plain values of YAML."""
    told = {"owner": settings.owner, "contact": settings.contact, "domain": settings.domain}
    source = {
        "name": settings.name,
        "description": "tables that kgspark publishes every night",
        "config": {"meta": {"contract": settings.version} | {key: text for key, text in told.items() if text}},
        "tables": [_table(table, settings.max_age) for table in tables],
    }
    return {"version": 2, "sources": [source]}


def _table(table: PublishedTable, max_age: int) -> dict[str, Any]:
    """dbt-duckdb reads the files themselves, by `external_location`; other adapters need a table of this name."""
    rules = {rule.name: rule.text for rule in table.rules}
    return {
        "name": table.name,
        "description": table.meaning,
        "config": {
            "loaded_at_field": f"cast({Columns.DS} as timestamp)",
            "freshness": {"warn_after": {"count": max_age, "period": "hour"}},
            "meta": {
                "external_location": table.place,
                "primary_key": table.key,
                "partition": Columns.DS,
                "rules": rules,
            },
        },
        "data_tests": [_unique(table)],
        "columns": [_column(column, table) for column in table.columns],
    }


def _unique(table: PublishedTable) -> dict[str, Any]:
    """The key does not repeat. dbt's own test takes one expression; only the last part may contain the separator."""
    query, *others = table.key
    parts = ", '-', ".join([*reversed(others), query])
    return {"unique": {"name": f"{table.name}_key", "arguments": {"column_name": f"concat({parts})"}}}


def _column(column: PublishedColumn, table: PublishedTable) -> dict[str, Any]:
    values = [rule.values for rule in table.rules if rule.column == column.name and rule.values]
    tests: list[Any] = [] if column.nullable else ["not_null"]
    tests += [{"accepted_values": {"arguments": {"values": list(allowed)}}} for allowed in values]
    return {
        "name": column.name,
        "description": column.meaning,
        "data_type": sql_type(column.type),
        **({"data_tests": tests} if tests else {}),
    }
