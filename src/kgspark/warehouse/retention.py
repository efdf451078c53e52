"""Removes old nights, dates and versions, as the settings `keep` say."""

from collections.abc import Collection, Iterable
from pathlib import Path

from kgspark.errors import StageError
from kgspark.runs import Run, run_dates
from kgspark.stores.copies import Copy
from kgspark.tables import MODEL, SERVED
from kgspark.warehouse.files import warehouse_of
from kgspark.warehouse.folder import remove_folders
from kgspark.warehouse.settings import KeepSettings
from kgspark.warehouse.versions import Version, Warehouse, newest_first

_REMOVED = ".removed"
# The newest nights whose files this machine's copy of a lake in a store keeps.
_NIGHTS_IN_COPY = 3


def remove_old(run: Run, keep: KeepSettings, needed: Collection[str] = ()) -> list[str]:
    """Removes what `keep` does not name; returns one line per kind of thing that was removed.

    needed  dates of further nights to keep. The night `run`, the version of the pointer, the night that made it, and
            the nights that trained their models are always kept, and so are nights that another process is working on

    If the lake is on a store, this machine's copy then keeps the files of the newest nights and of those that are
    needed, and the manifests of all.

    A folder leaves its place in one rename before it is removed, so no reader finds a part of it. Raises OSError.
    """
    warehouse = warehouse_of(run.lake)
    with warehouse.locked():
        latest = warehouse.latest()
        serving = {run.date, latest.date if latest else run.date}
        kept = {*serving, *needed, *_trained(run.lake, serving)}
        removed = {
            "nights": _remove_nights(run.lake, keep.nights, kept),
            "published dates": _remove_dates(warehouse, keep.published, kept),
            "versions": _remove_versions(warehouse, keep.versions, latest),
        }
    if (copy := Copy.of(run.lake)) is not None:
        copy.drop_files(run.date, {*kept, *run_dates(run.lake)[-_NIGHTS_IN_COPY:]})
    return [f"keep: removed {what}: {_outline(names)}" for what, names in removed.items() if names]


def _trained(lake: Path, dates: Iterable[str]) -> set[str]:
    """The nights that trained the models that the nights of these dates serve."""
    models = (Run(lake, name).find_manifest(MODEL) for name in dates)
    return {model.details[SERVED]["trained"] for model in models if model is not None and SERVED in model.details}


def night_dates(lake: Path) -> list[str]:
    """The dates of all nights in the lake, newest first."""
    return newest_first(path.name for path in (lake / "runs").glob("*") if path.is_dir())


def _remove_nights(lake: Path, number: int | None, kept: Collection[str]) -> list[str]:
    removed = []
    trash = lake / "runs" / _REMOVED
    for name in _old_nights(lake, number, kept):
        night = Run(lake, name)
        try:
            with night.locked():
                if (copy := night.copy) is not None:
                    copy.remove_night(name)
                remove_folders([night.folder], trash)
        except StageError:  # another process is working on it
            continue
        removed.append(name)
    return removed


def _old_nights(lake: Path, number: int | None, kept: Collection[str]) -> list[str]:
    """All nights before the newest `number`, without the kept ones. A night without a complete table counts as none."""
    if number is None:
        return []
    newest = run_dates(lake)[-number:]
    return [name for name in night_dates(lake) if newest and name < newest[0] and name not in kept]


def _remove_dates(warehouse: Warehouse, number: int | None, kept: Collection[str]) -> list[str]:
    names = _surplus(warehouse.dates(), number, kept)
    warehouse.remove_dates(names)
    return names


def _remove_versions(warehouse: Warehouse, number: int | None, latest: Version | None) -> list[str]:
    """Versions that are in place under their date are kept: they are the same files, so they take no space."""
    in_place = [latest, *(warehouse.in_place(name) for name in warehouse.dates())]
    kept = {version.id for version in in_place if version is not None}
    names = _surplus([name for name in warehouse.version_ids() if name not in kept], number)
    warehouse.remove_versions(names)
    return names


def _surplus(names: list[str], number: int | None, kept: Collection[str] = ()) -> list[str]:
    """The names after the first `number`, without the kept ones."""
    return [] if number is None else [name for name in names[number:] if name not in kept]


def _outline(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[-1]} to {names[0]} ({len(names)})"
