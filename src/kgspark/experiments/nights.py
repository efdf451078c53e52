"""nights: the nights of the lake, with state, model and disk space. Locks nothing, so it runs beside a night."""

from dataclasses import asdict
from typing import Any

from kgspark.night.night import Night
from kgspark.warehouse.nights import NightState, nights_of

_HEADER = ("date", "state", "published", "model", "size", "files")
_ROW = "{:<12}{:<22}{:<11}{:<24}{:>10}{:>8}"


def run(night: Night) -> dict[str, Any]:
    """Prints one line per night, newest first; returns the same, which `--json` prints."""
    lake = night.run.lake
    nights = nights_of(lake)
    if not nights:
        night.say(f"{lake}: no nights here")
    else:
        night.say(_ROW.format(*_HEADER))
    for state in nights:
        night.say(_line(state))
    return {"lake": str(lake), "nights": [asdict(state) for state in nights]}


def _line(state: NightState) -> str:
    size = f"{state.bytes / 2**20:,.1f} MiB"
    return _ROW.format(state.date, state.state, state.published, state.model_id, size, state.files)
