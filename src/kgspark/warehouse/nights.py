"""The nights of a lake: how far each one came, whether its tables are published, and the disk space that it takes."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from kgspark.locks import is_locked
from kgspark.runs import Run
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RATINGS, RECOMMENDATIONS, TRIPLES, WRITTEN_BY, Columns
from kgspark.warehouse.files import warehouse_of
from kgspark.warehouse.retention import night_dates
from kgspark.warehouse.versions import Warehouse

# One table of each stage, in the order of the stages.
_MILESTONES = (RATINGS, ENTITIES, TRIPLES, MODEL, RECOMMENDATIONS, PUBLISHED)


@dataclass(frozen=True)
class NightState:
    """One night.

    state      running (a process works on it), complete, the last stage whose tables are current (`up to
               index-entities`), empty (no stage is complete), or removed (only its published tables are left)
    published  latest (`_latest.json` names its version), yes (a version is under its date), or no
    model_id   of the published tables; of the night's own tables if none are published; empty without tables
    bytes      of the night's folder, its published files and its versions; a file with several names counts once
    files      their number
    """

    date: str
    state: str
    published: str
    model_id: str
    bytes: int
    files: int


def nights_of(lake: Path) -> list[NightState]:
    """All nights of a lake, newest first. Reads manifests and the sizes of files, and changes nothing."""
    warehouse = warehouse_of(lake)
    dates = {*night_dates(lake), *warehouse.dates()}
    return [state_of(Run(lake, date), warehouse) for date in sorted(dates, reverse=True)]


def state_of(run: Run, warehouse: Warehouse) -> NightState:
    """One night of a lake."""
    ranked, version = run.find_manifest(RECOMMENDATIONS), warehouse.in_place(run.date)
    model_id = version.model_id if version else ranked.details.get(Columns.MODEL_ID, "") if ranked else ""
    latest = warehouse.latest()
    if version is not None and latest is not None and version.id == latest.id:
        published = "latest"
    else:
        published = "yes" if run.date in warehouse.dates() else "no"
    sizes = warehouse.file_sizes(run)
    return NightState(run.date, _state(run), published, model_id, sum(sizes), len(sizes))


def _state(run: Run) -> str:
    if not run.folder.is_dir():
        return "removed"
    if is_locked(run.folder):
        return "running"
    current = list(takewhile(lambda table: _is_current(run, table), _MILESTONES))
    if len(current) == len(_MILESTONES):
        return "complete"
    return f"up to {WRITTEN_BY[current[-1]]}" if current else "empty"


def _is_current(run: Run, table: str) -> bool:
    """True if the table is complete, and was made from the present tables of the night."""
    manifest = run.find_manifest(table)
    if manifest is None:
        return False
    inputs = {name: run.find_manifest(name) for name in manifest.inputs if name in WRITTEN_BY}
    return all(found is not None and found.fingerprint == manifest.inputs[name] for name, found in inputs.items())
