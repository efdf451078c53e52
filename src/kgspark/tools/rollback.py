"""rollback: makes an earlier night current again in the targets. The night's folders in the lake stay as they are."""

from typing import Any

from kgspark.night.night import Night
from kgspark.night.reads import each_target, publish_targets
from kgspark.warehouse.publications import check_held
from kgspark.warehouse.targets import Target


def run(night: Night) -> dict[str, Any]:
    """Rolls every target of `publish.targets` back to `run_date`; prints a line per target, and returns these.

    Nothing is changed if one of them does not have the date. StageError for this, and for a target that refuses, with
    the names of those that are done.
    """
    date = night.run.date
    for name, target in publish_targets(night).items():
        check_held(name, target.held(night.run.lake), date)
    return {"run_date": date, "targets": each_target(night, lambda name, target: _roll_back(night, name, target))}


def _roll_back(night: Night, name: str, target: Target) -> str:
    done = target.roll_back(night.run)
    night.note(done, name)
    return done
