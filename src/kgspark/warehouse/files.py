"""Target `files`: versions of the tables in `<lake>/warehouse/`, each linked from `<table>/ds=<run_date>/`."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kgspark.errors import AuditError, StageError
from kgspark.files import copy_file, has_size, hash_file, replace_folder, swap_folders, sync_folder
from kgspark.runs import Run
from kgspark.tables import RANKED
from kgspark.warehouse.publications import check_held
from kgspark.warehouse.versions import SUCCESS, Version, Warehouse, holds


def publish(run: Run, tables: Sequence[str]) -> dict[str, Any]:
    """Writes a version, moves the date's folders into place, and moves the pointer last; an error undoes all moves.

    The pointer names the version of the newest date, so an earlier date that is published again does not move it.

    Raises AuditError if a file differs from the audited one, StageError if the warehouse cannot be written.
    """
    warehouse, version = Warehouse.of(run.lake), Version.of(run, tables)
    try:
        with warehouse.locked(), _staging(warehouse):
            _write_version(run, warehouse, version)
            _move_into_place(warehouse, version)
    except OSError as error:
        place = error.filename2 or error.filename or warehouse.root
        raise StageError(
            f"{place}: {error.strerror or error}; nothing is published, and the earlier tables are still in place"
        ) from error
    return version.as_json()


def is_there(run: Run, tables: Sequence[str]) -> bool:
    """True if the version, the date's folders and the pointer hold exactly the night's tables.

    Contents are compared by checksum if `run.verify` is full, else names, sizes and rows.
    """
    warehouse, version = Warehouse.of(run.lake), Version.of(run, tables)
    latest, checksums = warehouse.latest(), run.verify == "full"
    return (
        not warehouse.staging.exists()
        and latest is not None
        and (latest == version or latest.date > version.date)
        and _is_written(warehouse, version, checksums)
        and all(_is_in_place(warehouse, version, table, checksums) for table in RANKED)
    )


def place(run: Run, table: str) -> str:
    """The folder of the published files."""
    return str(Warehouse.of(run.lake).day(table, run.date))


def held(lake: Path) -> Mapping[str, str]:
    """The model of each date whose folders have a version's files."""
    warehouse = Warehouse.of(lake)
    versions = (warehouse.in_place(date) for date in warehouse.dates())
    return {version.date: version.model_id for version in versions if version is not None}


def remove(lake: Path, dates: Collection[str]) -> None:
    """Removes the folders of the dates; their versions go when `keep.versions` later ones were replaced."""
    warehouse = Warehouse.of(lake)
    with warehouse.locked():
        warehouse.remove_dates(dates)


def roll_back(run: Run) -> str:
    """Lets the pointer name the date's version, which is checked first. The folders of all dates stay as they are."""
    warehouse = Warehouse.of(run.lake)
    check_held(str(warehouse.root), held(run.lake), run.date)
    with warehouse.locked():
        version = warehouse.in_place(run.date)
        if version is None or not _is_written(warehouse, version, checksums=run.verify == "full"):
            raise StageError(
                f"{warehouse.versions}: the version of {run.date} is damaged, so {warehouse.pointer.name} is not "
                "changed; run publish for this date again, or name another one"
            )
        version.write(warehouse.pointer)
    return f"{warehouse.pointer.name} names {version.id}"


@contextmanager
def _staging(warehouse: Warehouse) -> Iterator[None]:
    """An empty staging folder, without the remains of a killed publication; removed at the end."""
    shutil.rmtree(warehouse.staging, ignore_errors=True)
    warehouse.staging.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(warehouse.staging, ignore_errors=True)


def _write_version(run: Run, warehouse: Warehouse, version: Version) -> None:
    """Copies the night's tables, unless the version is there. AuditError if a copy differs from its manifest.

    The files are copies, so that damage of a run's files in place does not reach the published ones, or the reverse.
    """
    if not _is_written(warehouse, version, checksums=True):
        staged = warehouse.staging / version.id
        for table, files in version.tables.items():
            (staged / table).mkdir(parents=True)
            manifest = run.manifest(table)
            for original, file in zip(manifest.files, files, strict=True):
                source, copy = run.table(table) / original.name, staged / table / file.name
                if source.is_file():
                    copy_file(source, copy)
                if not has_size(copy, file.bytes) or hash_file(copy) != file.sha256:
                    raise AuditError(f"{source}: the file changed after it was written; run {manifest.stage} again")
            _mark_complete(staged / table)
        version.write(staged / warehouse.description(version).name)
        replace_folder(staged, warehouse.version(version))
    warehouse.mark_newest(version)


def _is_written(warehouse: Warehouse, version: Version, checksums: bool) -> bool:
    folder = warehouse.version(version)
    return Version.read(warehouse.description(version)) == version and all(
        holds(folder / table, files, checksums) for table, files in version.tables.items()
    )


def _is_in_place(warehouse: Warehouse, version: Version, table: str, checksums: bool) -> bool:
    """True if the date's folder holds the version's table, or nothing if the version is without that table."""
    folder = warehouse.day(table, version.date)
    if table not in version.tables:
        return not folder.exists()
    return holds(folder, version.tables[table], checksums, links=warehouse.version(version) / table)


def _move_into_place(warehouse: Warehouse, version: Version) -> None:
    with ExitStack() as undo:
        for table in RANKED:
            folder, staged = warehouse.day(table, version.date), warehouse.staging / table
            if table in version.tables:
                _link(warehouse.version(version) / table, staged)
                _move(staged, folder, undo)
            elif folder.exists():
                _move(folder, staged, undo)
        latest = warehouse.latest()
        if latest is None or latest.date <= version.date:
            version.write(warehouse.pointer)
        undo.pop_all()


def _link(folder: Path, links: Path) -> None:
    """A new folder with hard links of the files in `folder`, or with copies where the disk has no hard links."""
    links.mkdir()
    for file in folder.iterdir():
        try:
            os.link(file, links / file.name)
        except OSError:
            copy_file(file, links / file.name)
    sync_folder(links)


def _mark_complete(folder: Path) -> None:
    (folder / SUCCESS).touch()
    sync_folder(folder)


def _move(new: Path, target: Path, undo: ExitStack) -> None:
    """`swap_folders`, and its reverse in `undo`: the folder goes back if it was moved, even if the call then failed."""
    number = new.stat().st_ino

    def put_back() -> None:
        try:
            if target.exists() and target.stat().st_ino == number:
                swap_folders(target, new)
        except OSError as error:
            raise StageError(
                f"{target}: nothing is published, but the earlier folder cannot be put back ({error.strerror}); "
                "readers of _latest.json are not affected; run publish again"
            ) from error

    undo.callback(put_back)
    swap_folders(new, target)
