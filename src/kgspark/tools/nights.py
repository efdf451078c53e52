"""nights: the nights of the lake, with state, model, metrics, minutes and disk space. Locks nothing."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kgspark.errors import KgsparkError, StageError
from kgspark.night.comparison import read_times
from kgspark.night.night import Night
from kgspark.runs import Run
from kgspark.tables import MODEL
from kgspark.warehouse.nights import NightState, nights_of
from kgspark.warehouse.targets import TARGETS

_HEADER = ("date", "state", "published", "model", "quality", "popularity", "minutes", "size", "files")
_ROW = "{:<12}{:<22}{:<11}{:<24}{:>9}{:>12}{:>9}{:>12}{:>8}"
# The metric of the column `quality`, whatever its K.
_QUALITY = "ndcg@"


def run(night: Night) -> dict[str, Any]:
    """Prints one line per night, newest first; returns the same, which `--json` prints.

    Each night has the `metrics` on its held-out likes, of the model and of popularity, and the `minutes` of its last
    run in which every stage ran; null if they are not known.
    """
    lake = night.run.lake
    nights, place = nights_of(lake), night.settings.store or str(lake)
    if not nights:
        night.say(f"{place}: no nights here")
    else:
        night.say(_ROW.format(*_HEADER))
    described = [_described(Run(lake, state.date), state) for state in nights]
    for each in described:
        night.say(_line(each))
    others = {name: _held(night, name) for name in night.settings.publish.targets if name != "files"}
    return {"lake": place, "nights": described, "targets": others}


def _held(night: Night, name: str) -> Mapping[str, str] | None:
    """The model of each date that a target holds, which is printed in a line; None if it cannot be asked."""
    try:
        held = TARGETS[name](night.settings.publish, _no_spark).held(night.run.lake)
    except KgsparkError as error:
        night.say(f"{name}: not asked: {error}")
        return None
    dates = list(held)
    night.say(f"{name}: " + (f"{len(dates)} dates, newest {dates[0]}, oldest {dates[-1]}" if dates else "empty"))
    return held


def _no_spark() -> Any:
    raise StageError("it needs Spark, which this command does not start")


def _described(run: Run, state: NightState) -> dict[str, Any]:
    """A night's state, metrics and minutes."""
    model, times = run.find_manifest(MODEL), read_times(run)
    metrics = {} if model is None else model.details.get("metrics", {})
    return asdict(state) | {"metrics": metrics, "minutes": None if times is None else times.seconds / 60}


def _line(described: Mapping[str, Any]) -> str:
    metrics, minutes = described["metrics"], described["minutes"]
    return _ROW.format(
        described["date"],
        described["state"],
        described["published"],
        described["model_id"],
        *(_quality(metrics.get(name, {})) for name in ("model", "popularity")),
        "" if minutes is None else f"{minutes:.1f}",
        f"{described['bytes'] / 2**20:,.1f} MiB",
        described["files"],
    )


def _quality(metrics: Mapping[str, float]) -> str:
    found = next((value for name, value in metrics.items() if name.startswith(_QUALITY)), None)
    return "" if found is None else f"{found:.4f}"
