"""The first check: every file of a ranked table has exactly the columns and types that the ranking writes.

No query runs before. Nobody can switch it off, because no other check can read a table with other columns.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.names import OURS, Names
from kgspark.ranking_schemas import ranked_schema
from kgspark.spark.ranking.audit.checks import Check
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.settings import CheckSettings

SCHEMA = "schema"
_RULE = "files have the columns and types that the ranking writes"


def check_schema(folder: Path, table: str, id_type: str, names: Names = OURS) -> list[Finding]:
    """One failed finding per file and difference, from the footers alone; one that passed if there is none."""
    expected = ranked_schema(table, id_type, names)
    found = [
        _finding(table, column, 1.0, f"{path.name}: {difference}")
        for path in _data_files(folder)
        for column, difference in _differences(path, expected)
    ]
    return found or [_finding(table, "", 0.0, "")]


def _data_files(folder: Path) -> list[Path]:
    """The files that Spark reads as the table's data."""
    return sorted(path for path in folder.iterdir() if path.name[0] not in "_.")


def _differences(path: Path, expected: pa.Schema) -> Iterator[tuple[str, str]]:
    """Each difference with the column that it is about."""
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        yield "", f"not a readable Parquet file: {' '.join(str(error).split())}"
        return
    for field in expected:
        if field.name not in found.names:
            yield field.name, f"no column {field.name}"
        elif found.names.count(field.name) > 1:
            yield field.name, f"two columns {field.name}"
        elif found.field(field.name).type != field.type:
            yield field.name, f"{field.name} is {found.field(field.name).type}, expected {field.type}"
    for name in found.names:
        if name not in expected.names:
            yield name, f"unknown column {name}"
    if sorted(found.names) == sorted(expected.names) and found.names != expected.names:
        yield "", f"the columns are in the order {', '.join(found.names)}, expected {', '.join(expected.names)}"


def _finding(table: str, column: str, value: float, example: str) -> Finding:
    check = Check(SCHEMA, _RULE, column, "measured", unit="difference")
    return judge(check, CheckSettings(severity="block", bound=0), table, value, example)
