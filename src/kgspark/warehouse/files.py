"""Target `files`: versions of the tables in `<lake>/warehouse/`, each also under `<table>/ds=<run_date>/`."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from kgspark.errors import StageError
from kgspark.runs import Run
from kgspark.stores.copies import Copy
from kgspark.warehouse.folder import FolderWarehouse
from kgspark.warehouse.object_store import StoreWarehouse
from kgspark.warehouse.publications import check_held
from kgspark.warehouse.versions import Version, Warehouse


def warehouse_of(lake: Path) -> Warehouse:
    """The warehouse of a lake: where the lake is, in a folder or in an object store."""
    copy = Copy.of(lake)
    return FolderWarehouse.of(lake) if copy is None else StoreWarehouse(copy)


def publish(run: Run, tables: Sequence[str]) -> dict[str, Any]:
    """Writes a version, puts it under its date, and moves the pointer last; see `Warehouse.publish`."""
    version = Version.of(run, tables)
    warehouse_of(run.lake).publish(run, version)
    return version.as_json()


def is_there(run: Run, tables: Sequence[str]) -> bool:
    """True if the version, its date and the pointer hold exactly the night's tables.

    Contents are compared by checksum if `run.verify` is full, else names, sizes and rows.
    """
    return warehouse_of(run.lake).is_published(Version.of(run, tables), checksums=run.verify == "full")


def place(run: Run, table: str) -> str:
    """The place of the published files."""
    return warehouse_of(run.lake).day_of(table, run.date)


def held(lake: Path) -> Mapping[str, str]:
    """The model of each date under which a version is published."""
    warehouse = warehouse_of(lake)
    versions = (warehouse.in_place(date) for date in warehouse.dates())
    return {version.date: version.model_id for version in versions if version is not None}


def remove(lake: Path, dates: Collection[str]) -> None:
    """Removes the folders of the dates; their versions go when `keep.versions` later ones were replaced."""
    warehouse = warehouse_of(lake)
    with warehouse.locked():
        warehouse.remove_dates(dates)


def roll_back(run: Run) -> str:
    """Lets the pointer name the date's version, which is checked first. The folders of all dates stay as they are."""
    warehouse = warehouse_of(run.lake)
    check_held(warehouse.address, held(run.lake), run.date)
    with warehouse.locked():
        version = warehouse.in_place(run.date)
        if version is None:
            raise StageError(f"{warehouse.address}: {run.date} was removed meanwhile")
        warehouse.point_to(version, checksums=run.verify == "full")
    return f"_latest.json names {version.id}"
