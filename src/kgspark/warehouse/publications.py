"""The table `kgspark_published` of a target that is a table store: what is published there, and of which model.

Its rows of a date are written after the tables themselves, or in the same transaction. The newest date in it is the
current one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from kgspark.errors import StageError
from kgspark.runs import Run
from kgspark.tables import Columns
from kgspark.warehouse.versions import Version

PUBLICATIONS = "kgspark_published"
TABLE_NAME = "table_name"

# version  id of the publication, the same for all tables of the night
# content  hash of the table's rows (see `content`)
PUBLICATIONS_SCHEMA = pa.schema(
    {
        Columns.DS: pa.string(),
        TABLE_NAME: pa.string(),
        Columns.MODEL_ID: pa.string(),
        "version": pa.string(),
        "rows": pa.int64(),
        "content": pa.string(),
    }
)


def publications_of(run: Run, tables: Sequence[str]) -> pa.Table:
    """The rows of the night's present tables, by table; AuditError if these are of different models."""
    version = Version.of(run, tables)
    manifests = {table: run.manifest(table) for table in sorted(tables)}
    rows = [
        [run.date, table, version.model_id, version.id, found.rows, found.content] for table, found in manifests.items()
    ]
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=PUBLICATIONS_SCHEMA)


def same_publications(one: pa.Table, other: pa.Table) -> bool:
    """True if two tables have the same rows in any order."""
    return _rows(one) == _rows(other)


def models_by_date(publications: pa.Table) -> dict[str, str]:
    """The model of each published date, the newest first."""
    rows = sorted(publications.to_pylist(), key=lambda row: row[Columns.DS], reverse=True)
    return {row[Columns.DS]: row[Columns.MODEL_ID] for row in rows}


def check_held(place: str, held: Mapping[str, str], date: str) -> None:
    """StageError if a date is not among the published ones."""
    if date not in held:
        raise StageError(f"{place}: {date} is not published here; published: {', '.join(held) or 'nothing'}")


def as_details(publications: pa.Table) -> dict[str, Any]:
    """The publication as a target returns it for the manifest."""
    rows = publications.to_pylist()
    tables = {row[TABLE_NAME]: {"rows": row["rows"], "content": row["content"]} for row in rows}
    return {Columns.MODEL_ID: rows[0][Columns.MODEL_ID], "version": rows[0]["version"], "tables": tables}


def _rows(publications: pa.Table) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[name] for name in PUBLICATIONS_SCHEMA.names) for row in publications.to_pylist())
