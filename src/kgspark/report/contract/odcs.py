"""The contract by the Open Data Contract Standard 3.1, https://bitol-io.github.io/open-data-contract-standard/."""

from collections.abc import Iterator, Sequence
from typing import Any

from kgspark.published_schemas import PublishedColumn
from kgspark.report.contract.settings import ContractSettings
from kgspark.report.contract.tables import PublishedTable, Rule
from kgspark.report.contract.types import odcs_type
from kgspark.tables import Columns

_VERSION = "v3.1.0"


def odcs_contract(
    settings: ContractSettings, warehouse: str, tables: Sequence[PublishedTable], kept: int | None
) -> dict[str, Any]:
    """The contract as plain values of YAML.

    kept  number of dates that stay published; None for all
    """
    aged = {"property": "latency", "value": settings.max_age, "unit": "h", "description": "age of the newest ds"}
    sla = [{"property": "frequency", "value": 1, "unit": "d"}, aged]
    sla += [{"property": "retention", "value": kept, "unit": "d"}] if kept is not None else []
    dates = ",".join(f"{table.name}.{Columns.DS}" for table in tables)
    return {
        "apiVersion": _VERSION,
        "kind": "DataContract",
        "id": settings.name,
        "name": settings.name,
        "version": settings.version,
        "status": settings.status,
        **({"domain": settings.domain} if settings.domain else {}),
        "description": {
            "purpose": "; ".join(f"{table.name}: {table.meaning}" for table in tables),
            "usage": "a date's rows are replaced as a whole; _latest.json in the folder names the newest night",
        },
        "servers": [{"server": "files", "type": "local", "path": warehouse, "format": "parquet"}],
        "schema": [_table(table) for table in tables],
        **({"team": {"name": settings.owner}} if settings.owner else {}),
        **({"support": [{"channel": settings.contact}]} if settings.contact else {}),
        "slaProperties": [{**promise, "element": dates} for promise in sla],
    }


def _table(table: PublishedTable) -> dict[str, Any]:
    of_table = [rule for rule in table.rules if not rule.column]
    return {
        "name": table.name,
        "logicalType": "object",
        "physicalType": "parquet",
        "physicalName": table.place,
        "description": table.meaning,
        "properties": [_column(column, table) for column in table.columns],
        "quality": [quality for rule in of_table for quality in _qualities(rule, table)],
    }


def _column(column: PublishedColumn, table: PublishedTable) -> dict[str, Any]:
    of_column = [rule for rule in table.rules if rule.column == column.name]
    key = {"primaryKey": True, "primaryKeyPosition": table.key.index(column.name) + 1} if column.key else {}
    partition = {"partitioned": True, "partitionKeyPosition": 1} if column.name == Columns.DS else {}
    quality = [quality for rule in of_column for quality in _qualities(rule, table)]
    return {
        "name": column.name,
        **odcs_type(column.type),
        "description": column.meaning,
        "required": not column.nullable,
        **key,
        **partition,
        **({"quality": quality} if quality else {}),
    }


def _qualities(rule: Rule, table: PublishedTable) -> Iterator[dict[str, Any]]:
    """The rule as a text, and as a check that tools can run, if there is one."""
    about = {"name": rule.name, "description": rule.text, "severity": "error"}
    if rule.unique:
        yield about | {"metric": "duplicateValues", "arguments": {"properties": list(rule.unique)}, "mustBe": 0}
    elif rule.values:
        yield about | {"metric": "invalidValues", "arguments": {"validValues": list(rule.values)}, "mustBe": 0}
    elif rule.never:
        query = f"SELECT count(*) FROM {table.name} WHERE {rule.never}"
        yield about | {"type": "sql", "query": query, "mustBe": 0}
    else:
        yield about | {"type": "text"}
