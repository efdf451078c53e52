"""nightly: all stages in one Spark session, and a summary at the end."""

import threading
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

from kgspark.night.night import Night
from kgspark.night.reads import held_out_metrics, published_places, ranked_tables
from kgspark.report.summary import night_summary

STAGES = ("clean_ratings", "index_entities", "write_triples", "train_embeddings", "recommend", "publish")


def run(night: Night) -> dict[str, Any]:
    """Runs, in order, every stage whose inputs have changed; returns the figures that `--json` prints."""
    # torch and FAISS take seconds to import; this thread imports them while Spark starts and cleans.
    threading.Thread(target=_import_ahead, daemon=True).start()
    for name in STAGES:
        _stage(name).run(night)
    metrics = held_out_metrics(night)
    night.say(night_summary(night.run, published_places(night), metrics, night.outcomes))
    return {
        "run_date": night.run.date,
        "stages": [vars(outcome) for outcome in night.outcomes],
        "metrics": metrics,
        "ranking": {name: night.run.manifest(name).details for name in ranked_tables(night)},
    }


def _import_ahead() -> None:
    with suppress(ImportError):  # the stage itself reports it
        for name in STAGES:
            _stage(name)


def _stage(name: str) -> ModuleType:
    return import_module(f"kgspark.stages.{name}")
