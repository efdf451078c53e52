"""The figures of a night, from its manifests and its audit, for people and for other programs."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from kgspark.runs import Run
from kgspark.tables import AUDIT_FILE, MODEL, PUBLISHED, RATINGS, WRITTEN_BY


def table_sizes(run: Run) -> dict[str, tuple[int, int]]:
    """Rows and bytes of every complete table of the night, by its name."""
    found = {table: run.find_manifest(table) for table in WRITTEN_BY}
    return {table: (it.rows, sum(file.bytes for file in it.files)) for table, it in found.items() if it is not None}


def source_lines(run: Run) -> dict[tuple[str, str], int]:
    """Number of lines by source table and what became of them: kept, superseded, or a reason of the quarantine."""
    manifest = run.find_manifest(RATINGS)
    accounts: dict[str, dict[str, Any]] = manifest.details["accounts"] if manifest else {}
    lines = {}
    for table, account in accounts.items():
        counts = {"kept": account["kept"], "superseded": account["superseded"], **account["quarantined"]}
        lines.update({(table, state): int(count) for state, count in counts.items()})
    return lines


def quality(run: Run) -> dict[tuple[str, str], float]:
    """Metrics on held-out likes by system (`model`, `popularity`) and metric (`ndcg@10`)."""
    manifest = run.find_manifest(MODEL)
    metrics: dict[str, dict[str, float]] = manifest.details["metrics"] if manifest else {}
    return {(system, name): float(value) for system, found in metrics.items() for name, value in found.items()}


def model_id(run: Run) -> str:
    """The id of the night's model; empty if there is none."""
    manifest = run.find_manifest(MODEL)
    return str(manifest.details["model_id"]) if manifest else ""


def audit_findings(run: Run) -> list[dict[str, Any]]:
    """The results of the checks of the night's publication; empty if it is not published."""
    return [] if run.find_manifest(PUBLISHED) is None else read_findings(run.table(PUBLISHED))


def read_findings(folder: Path) -> list[dict[str, Any]]:
    """The results of the checks in the folder of a publication, finished or not; empty if there are none."""
    try:
        text = (folder / AUDIT_FILE).read_text(encoding="utf-8")
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def audit_counts(run: Run) -> Counter[str]:
    """Number of audit checks by status."""
    return Counter(str(found["status"]) for found in audit_findings(run))


def list_churn(findings: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The share of each published table's lists that is new since the last published night; empty in the first one."""
    churn = {found["table"]: found["value"] for found in findings if found["check"] == "list_churn"}
    return {str(table): float(value) for table, value in churn.items() if value is not None}


def last_published(run: Run) -> tuple[str, float] | None:
    """The newest published night up to this one: its date, and when it was published, in seconds since 1970."""
    for night in _newest_first(run):
        if (manifest := night.find_manifest(PUBLISHED)) is not None:
            return night.date, datetime.fromisoformat(manifest.written).timestamp()
    return None


def _newest_first(run: Run) -> Iterator[Run]:
    yield run
    yield from run.earlier()
