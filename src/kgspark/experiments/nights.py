"""nights: the nights of the lake, with state, model and disk space. Locks nothing, so it runs beside a night."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kgspark.errors import KgsparkError, StageError
from kgspark.night.night import Night
from kgspark.warehouse.nights import NightState, nights_of
from kgspark.warehouse.targets import TARGETS

_HEADER = ("date", "state", "published", "model", "size", "files")
_ROW = "{:<12}{:<22}{:<11}{:<24}{:>10}{:>8}"


def run(night: Night) -> dict[str, Any]:
    """Prints one line per night, newest first; returns the same, which `--json` prints."""
    lake = night.run.lake
    nights, place = nights_of(lake), night.settings.store or str(lake)
    if not nights:
        night.say(f"{place}: no nights here")
    else:
        night.say(_ROW.format(*_HEADER))
    for state in nights:
        night.say(_line(state))
    others = {name: _held(night, name) for name in night.settings.publish.targets if name != "files"}
    return {"lake": place, "nights": [asdict(state) for state in nights], "targets": others}


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


def _line(state: NightState) -> str:
    size = f"{state.bytes / 2**20:,.1f} MiB"
    return _ROW.format(state.date, state.state, state.published, state.model_id, size, state.files)
