"""nightly: all stages in one Spark session, and a summary at the end."""

import threading
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from types import ModuleType
from typing import Any

from kgspark.errors import AuditError, StageError
from kgspark.night.comparison import format_comparison, last_full_night, write_times
from kgspark.night.earlier_model import earlier_run
from kgspark.night.night import Night
from kgspark.night.night_report import add_report
from kgspark.night.reads import held_out_metrics, publish_targets, published_places, ranked_tables, vector_tables
from kgspark.night.refusals import refusal
from kgspark.report.summary import night_summary, shortened
from kgspark.run_figures import audit_findings, list_churn
from kgspark.runs import as_written, first_difference
from kgspark.tables import RECOMMENDATIONS, WRITTEN_BY

STAGES = (
    "clean_ratings",
    "index_entities",
    "write_triples",
    "train_embeddings",
    "recommend",
    "write_vectors",
    "publish",
)


def stages_of(night: Night) -> list[str]:
    """The stages that a night with these settings has, in order: modules' names, of `STAGES`."""
    return [name for name in STAGES if name != "write_vectors" or vector_tables(night)]


def run(night: Night) -> dict[str, Any]:
    """Runs, in order, every stage whose inputs have changed; returns the figures that `--json` prints."""
    # torch and FAISS take seconds to import; this thread imports them while Spark starts and cleans.
    # No model to serve, or a target without its package, ends the night before its first stage.
    earlier_run(night)
    publish_targets(night)
    threading.Thread(target=_import_ahead, daemon=True).start()
    refused = refusal(night.run) is not None
    for name in stages_of(night):
        try:
            _stage(name).run(night)
        except AuditError:
            _tell_of_report(night, anew=True)  # it shows what was refused, and why
            raise
    metrics, full, churn = held_out_metrics(night), last_full_night(night.run), list_churn(audit_findings(night.run))
    if (ruled := night.run.manifest(RECOMMENDATIONS).details.get("held_out")) is not None:
        metrics = {**metrics, "with rules": ruled["with_rules"]}
    write_times(night, night.outcomes)
    compared = format_comparison(night.outcomes, full, churn)
    places, names = published_places(night), night.settings.names
    night.say(night_summary(night.run, places, metrics, night.outcomes, names, compared))
    report = _tell_of_report(night, anew=refused or any(outcome.ran for outcome in night.outcomes))
    return {
        "run_date": night.run.date,
        "stages": [vars(outcome) for outcome in night.outcomes],
        "full_night": None if full is None else asdict(full),
        "list_churn": churn,
        "metrics": metrics,
        "ranking": {name: night.run.manifest(name).details for name in ranked_tables(night)},
        "report": report,
    }


def _tell_of_report(night: Night, anew: bool) -> str | None:
    path = add_report(night, anew)
    if path is not None:
        night.say(f"\nThe report of the night: {shortened(path)}")
    return path


def check_earlier_stages(night: Night, stage: str) -> None:
    """Checks that the stages before `stage` ran with the present settings, for a stage that runs alone.

    stage  module of the stage, a name in `STAGES`

    Raises StageError with the dotted key that differs, and the stage to run.
    """
    before = STAGES[: STAGES.index(stage)]
    for name in filter(before.__contains__, stages_of(night)):
        written = name.replace("_", "-")
        tables = [table for table, writer in WRITTEN_BY.items() if writer == written]
        manifest = next(filter(None, (night.run.find_manifest(table) for table in tables)), None)
        if manifest is None:
            continue  # the stage itself names a table that it lacks
        key = first_difference(manifest.settings, as_written(_stage(name).stage_settings(night)))
        if key is not None:
            raise StageError(
                f"{night.run.folder}: {written} ran with another value of {key}; run it again with the present "
                "settings, or give every stage the same ones"
            )


def _import_ahead() -> None:
    with suppress(ImportError):  # the stage itself reports it
        for name in STAGES:
            _stage(name)


def _stage(name: str) -> ModuleType:
    return import_module(f"kgspark.stages.{name}")
