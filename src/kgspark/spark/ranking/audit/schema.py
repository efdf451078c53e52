"""The first check: every file of a published table has exactly the columns and types that its stage writes.

No query runs before. Nobody can switch it off, because no other check can read a table with other columns.
"""

from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa

from kgspark.errors import StageError
from kgspark.names import OURS, Names
from kgspark.published_schemas import PLAIN, Extras, published_schema
from kgspark.search_space import Scoring
from kgspark.spark.ranking.audit.checks import Check
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.settings import CheckSettings

SCHEMA = "schema"
_RULE = "files have the columns and types that their stage writes"


def check_schema(
    footers: Mapping[str, Callable[[], pa.Schema]],
    table: str,
    id_type: str,
    names: Names = OURS,
    scoring: Scoring | None = None,
    extras: Extras = PLAIN,
) -> list[Finding]:
    """One failed finding per file and difference; one that passed if there is none.

    footers  the name of each file of the table, to a function that reads its columns and metadata
    scoring  how the vectors are scored; the files of vectors must say the same
    """
    expected = published_schema(table, id_type, names, scoring, extras)
    found = [
        _finding(table, column, 1.0, f"{name}: {difference}")
        for name, read in footers.items()
        for column, difference in _differences(read, expected)
    ]
    return found or [_finding(table, "", 0.0, "")]


def _differences(read: Callable[[], pa.Schema], expected: pa.Schema) -> Iterator[tuple[str, str]]:
    """Each difference with the column that it is about."""
    try:
        found = read()
    except (OSError, pa.ArrowException, StageError) as error:
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
    for key, value in (expected.metadata or {}).items():
        told = (found.metadata or {}).get(key, b"nothing")
        if told != value:
            yield "", f"the metadata {key.decode()} says {told.decode()}, expected {value.decode()}"


def _finding(table: str, column: str, value: float, example: str) -> Finding:
    check = Check(SCHEMA, _RULE, column, "measured", unit="difference")
    return judge(check, CheckSettings(severity="block", bound=0), table, value, example)
