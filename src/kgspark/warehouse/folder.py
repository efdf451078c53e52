"""A warehouse in a folder: versions, and the folders of the dates, which are links of their versions' files.

warehouse/_latest.json                                     the pointer: the description of the newest version
warehouse/_versions/<version>/_version.json                its description
warehouse/_versions/<version>/<table>/part-00000-<hash>.parquet, _SUCCESS
warehouse/<table>/ds=<date>/part-00000-<hash>.parquet, _SUCCESS      hard links of the date's version
warehouse/_staging/                                        what is being written or removed
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kgspark.errors import AuditError, ResourceError, StageError
from kgspark.files import (
    DataFile,
    copy_file,
    file_sizes,
    has_size,
    hash_file,
    replace_folder,
    swap_folders,
    sync_folder,
)
from kgspark.locks import locked_in_turn
from kgspark.manifests import find_changed
from kgspark.runs import Run
from kgspark.tables import PUBLISHABLE
from kgspark.warehouse.versions import DESCRIPTION, SUCCESS, VERSIONS, Version, Warehouse, newest_first


@dataclass(frozen=True)
class FolderWarehouse(Warehouse):
    """The places in the folder of published tables."""

    root: Path

    @classmethod
    def of(cls, lake: Path) -> "FolderWarehouse":
        """`<lake>/warehouse`."""
        return cls(lake / "warehouse")

    @property
    def pointer(self) -> Path:
        """The file that describes the newest version."""
        return self.root / "_latest.json"

    @property
    def staging(self) -> Path:
        """The folder of what is being written or removed. No reader looks there; `*/*.parquet` finds nothing in it."""
        return self.root / "_staging"

    @property
    def versions(self) -> Path:
        """The folder of all versions."""
        return self.root / VERSIONS

    def version(self, version: Version) -> Path:
        """The folder of a version."""
        return self.versions / version.id

    def description(self, version: Version) -> Path:
        """The description in the folder of a version."""
        return self.version(version) / DESCRIPTION

    def day(self, table: str, date: str) -> Path:
        """The folder of a table's published files of a date."""
        return self.root / table / f"ds={date}"

    def dates(self) -> list[str]:
        """The dates of which a table is published, newest first."""
        return newest_first(
            path.name.removeprefix("ds=") for table in PUBLISHABLE for path in (self.root / table).glob("ds=*")
        )

    def latest(self) -> Version | None:
        """The version that the pointer names; None without a pointer that agrees with the version's description."""
        named = Version.read(self.pointer)
        return named if named is not None and Version.read(self.description(named)) == named else None

    def in_place(self, date: str) -> Version | None:
        """The version whose files are in the folders of a date, by their names; None if there is none."""
        for table in PUBLISHABLE:
            for path in self.day(table, date).glob("*.parquet"):
                digest = path.stem.rpartition("-")[2]
                return Version.read(self.versions / f"{date}-{digest}" / DESCRIPTION)
        return None

    def remove_dates(self, dates: Iterable[str]) -> None:
        """Removes the folders of the dates, each in one rename before its files are removed."""
        remove_folders((self.day(table, date) for date in dates for table in PUBLISHABLE), self.staging)

    def mark_newest(self, version: Version) -> None:
        """Makes a version the one that was published last, for retention, even if the clock has gone back since."""
        moments = (path.stat().st_mtime_ns for path in self.versions.iterdir() if path != self.version(version))
        moment = max(time.time_ns(), max(moments, default=0) + 1)
        os.utime(self.version(version), ns=(moment, moment))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other process changes the warehouse, and locks it."""
        with locked_in_turn(self.root):
            yield

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def publish(self, run: Run, version: Version) -> None:
        """Writes a version, moves the date's folders into place, and moves the pointer last; an error undoes all moves.

        See `Warehouse`.
        """
        try:
            with self.locked(), _staging(self):
                _write_version(run, self, version)
                _move_into_place(self, version)
        except OSError as error:
            place = error.filename2 or error.filename or self.root
            raise ResourceError(
                f"{place}: {error.strerror or error}; nothing is published, and the earlier tables are still in place"
            ) from error

    def is_published(self, version: Version, checksums: bool) -> bool:
        """See `Warehouse`."""
        latest = self.latest()
        return (
            not self.staging.exists()
            and latest is not None
            and (latest == version or latest.date > version.date)
            and _is_written(self, version, checksums)
            and all(_is_in_place(self, version, table, checksums) for table in PUBLISHABLE)
        )

    def point_to(self, version: Version, checksums: bool) -> None:
        """See `Warehouse`."""
        if not _is_written(self, version, checksums):
            raise StageError(
                f"{self.versions}: the version of {version.date} is damaged, so {self.pointer.name} is not changed; "
                "run publish for this date again, or name another one"
            )
        version.write(self.pointer)

    def version_ids(self) -> list[str]:
        """See `Warehouse`."""
        if not self.versions.is_dir():
            return []
        folders = sorted(self.versions.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [path.name for path in folders]

    def remove_versions(self, ids: Iterable[str]) -> None:
        """See `Warehouse`."""
        remove_folders((self.versions / name for name in ids), self.staging)

    def file_sizes(self, run: Run) -> list[int]:
        """See `Warehouse`; a file with several names counts once."""
        days = [self.day(table, run.date) for table in PUBLISHABLE]
        return file_sizes([run.folder, *days, *self.versions.glob(f"{run.date}-*")])

    def day_of(self, table: str, date: str) -> str:
        """See `Warehouse`."""
        return str(self.day(table, date))

    def table_of(self, table: str) -> str:
        """See `Warehouse`."""
        return str(self.root / table)

    def version_of(self, version: Version, table: str) -> str:
        """See `Warehouse`."""
        return str(self.version(version) / table)

    def readable(self, table: str, date: str) -> Path | None:
        """See `Warehouse`."""
        folder = self.day(table, date)
        return folder if folder.is_dir() else None


def remove_folders(folders: Iterable[Path], trash: Path) -> None:
    """Removes the folders, and what a killed removal has left in `trash`."""
    shutil.rmtree(trash, ignore_errors=True)
    for folder in folders:
        if folder.exists():
            trash.mkdir(exist_ok=True)
            folder.rename(trash / folder.name)
            shutil.rmtree(trash)


def holds(folder: Path, files: Sequence[DataFile], checksums: bool, links: Path | None = None) -> bool:
    """True if a folder has exactly these files, unchanged, and the mark `_SUCCESS`.

    checksums  compares contents; otherwise names, sizes and rows
    links      a folder that was found to hold the files; hard links of its files are not read again
    """
    try:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".") or path.suffix == ".parquet"}
        if names != {SUCCESS, *(file.name for file in files)}:
            return False
        if links is not None and all((folder / file.name).samefile(links / file.name) for file in files):
            return True
    except OSError:
        return False
    return find_changed(folder, files, checksums) is None


@contextmanager
def _staging(warehouse: FolderWarehouse) -> Iterator[None]:
    """An empty staging folder, without the remains of a killed publication; removed at the end."""
    shutil.rmtree(warehouse.staging, ignore_errors=True)
    warehouse.staging.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(warehouse.staging, ignore_errors=True)


def _write_version(run: Run, warehouse: FolderWarehouse, version: Version) -> None:
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


def _is_written(warehouse: FolderWarehouse, version: Version, checksums: bool) -> bool:
    folder = warehouse.version(version)
    return Version.read(warehouse.description(version)) == version and all(
        holds(folder / table, files, checksums) for table, files in version.tables.items()
    )


def _is_in_place(warehouse: FolderWarehouse, version: Version, table: str, checksums: bool) -> bool:
    """True if the date's folder holds the version's table, or nothing if the version is without that table."""
    folder = warehouse.day(table, version.date)
    if table not in version.tables:
        return not folder.exists()
    return holds(folder, version.tables[table], checksums, links=warehouse.version(version) / table)


def _move_into_place(warehouse: FolderWarehouse, version: Version) -> None:
    with ExitStack() as undo:
        for table in PUBLISHABLE:
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
            raise ResourceError(
                f"{target}: nothing is published, but the earlier folder cannot be put back ({error.strerror}); "
                "readers of _latest.json are not affected; run publish again"
            ) from error

    undo.callback(put_back)
    swap_folders(new, target)
