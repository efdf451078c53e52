"""A night's figures as a text file for Prometheus' node exporter (its textfile collector)."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge

from kgspark import run_figures
from kgspark.observers.observer import Ended, Observer
from kgspark.runs import Run

_WORDS = {
    "night_info": "The night that the last command worked on.",
    "command_exit_code": "Exit code of the last command; 0 if it ended well.",
    "command_seconds": "Duration of the last command.",
    "command_ended_timestamp_seconds": "When the last command ended.",
    "published_timestamp_seconds": "When the newest published night of the lake was published.",
    "stage_seconds": "Duration of each stage of the last command.",
    "stage_peak_bytes": "Peak memory of all processes of the night on this machine, during each stage.",
    "stage_ran": "1 if the stage worked, 0 if its tables were current.",
    "table_rows": "Rows of each table of the night.",
    "table_bytes": "Bytes of the files of each table of the night.",
    "source_lines": "Lines of the source, by what became of them: kept, superseded, or a reason of the quarantine.",
    "quality": "Metrics on held-out likes.",
    "audit_checks": "Audit checks of the publication, by status.",
    "list_churn": "Share of the lists that is new since the last published night.",
}


class PrometheusFile(Observer):
    """Replaces the file at the end of each command, also of one that failed. Alerts stand in docs/monitoring.md."""

    name = "observe.prometheus"

    def __init__(self, path: Path) -> None:
        self._path = path

    def night_ended(self, run: Run, ended: Ended) -> None:
        """Writes the file in one step, so that a reader never sees a part of it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        prometheus_client.write_to_textfile(str(self._path), _registry(run, ended))


def _registry(run: Run, ended: Ended) -> CollectorRegistry:
    registry = CollectorRegistry()

    def add(name: str, labels: Iterable[str], values: Mapping[Any, float]) -> None:
        gauge = Gauge(f"kgspark_{name}", _WORDS[name], list(labels), registry=registry)
        for value_labels, value in values.items():
            (gauge.labels(*value_labels) if value_labels else gauge).set(value)

    add("night_info", ("run_date", "model_id", "command"), {(run.date, run_figures.model_id(run), ended.command): 1})
    add("command_exit_code", (), {(): ended.code})
    add("command_seconds", (), {(): ended.seconds})
    add("command_ended_timestamp_seconds", (), {(): time.time()})
    if (published := run_figures.last_published(run)) is not None:
        add("published_timestamp_seconds", ("run_date",), {(published[0],): published[1]})
    outcomes = {(outcome.stage,): outcome for outcome in ended.outcomes}
    add("stage_seconds", ("stage",), {stage: outcome.seconds for stage, outcome in outcomes.items()})
    add("stage_peak_bytes", ("stage",), {stage: outcome.peak_bytes for stage, outcome in outcomes.items()})
    add("stage_ran", ("stage",), {stage: outcome.ran for stage, outcome in outcomes.items()})
    sizes = run_figures.table_sizes(run)
    add("table_rows", ("table",), {(table,): rows for table, (rows, _) in sizes.items()})
    add("table_bytes", ("table",), {(table,): size for table, (_, size) in sizes.items()})
    add("source_lines", ("table", "state"), run_figures.source_lines(run))
    add("quality", ("system", "metric"), run_figures.quality(run))
    add("audit_checks", ("status",), {(status,): count for status, count in run_figures.audit_counts(run).items()})
    churn = run_figures.list_churn(run_figures.audit_findings(run))
    add("list_churn", ("table",), {(table,): value for table, value in churn.items()})
    return registry
