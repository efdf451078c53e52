"""nightly: the whole chain in one session, and a summary at the end."""

import threading
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from kgspark.night.night import Night
from kgspark.night.reads import ranked_tables
from kgspark.report.summary import night_summary
from kgspark.tables import MODEL

STAGES = ("clean_ratings", "index_entities", "write_triples", "train_embeddings", "recommend", "publish")


def run(night: Night) -> None:
    """Runs every stage whose inputs have changed, in order, and tells what came out."""
    # torch and FAISS take seconds to import; they do so while Spark starts and cleans.
    threading.Thread(target=_import_ahead, daemon=True).start()
    for name in STAGES:
        _stage(name).run(night)
    night.say(night_summary(night.run, ranked_tables(night), night.outcomes))
    night.result = {
        "run_date": night.run.date,
        "stages": [vars(outcome) for outcome in night.outcomes],
        "metrics": night.run.manifest(MODEL).details["metrics"],
        "ranking": {name: night.run.manifest(name).details for name in ranked_tables(night)},
    }


def _import_ahead() -> None:
    with suppress(ImportError):  # the stage itself will meet it, and say so
        for name in STAGES:
            _stage(name)


def _stage(name: str) -> ModuleType:
    return import_module(f"kgspark.stages.{name}")
