"""Versions: the published tables of one night, in a folder whose files never change, and the pointer to the newest one.

    warehouse/_latest.json                                     the pointer: the description of the newest version
    warehouse/_versions/<version>/_version.json                its description
    warehouse/_versions/<version>/<table>/part-00000-<hash>.parquet, _SUCCESS
    warehouse/<table>/ds=<date>/part-00000-<hash>.parquet, _SUCCESS      hard links of the date's version
    warehouse/_staging/                                        what is being written or removed

A version's name has a hash of its content, and so has each file's. A reader that listed a folder before it was
replaced finds the file that it listed, or none, but never another version's file.
"""

import datetime
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kgspark.errors import AuditError
from kgspark.files import DataFile, write_atomically
from kgspark.locks import locked_in_turn
from kgspark.manifests import find_changed
from kgspark.runs import Run
from kgspark.tables import RANKED, Columns

SUCCESS = "_SUCCESS"
_VERSIONS, _DESCRIPTION = "_versions", "_version.json"
_HASH_DIGITS = 12


@dataclass(frozen=True)
class Version:
    """The published tables of one night.

    id      <date>-<hash of the content>
    tables  the files of each table under their published names, in the order of the table's manifest
    """

    date: str
    model_id: str
    id: str
    tables: Mapping[str, Sequence[DataFile]]

    @classmethod
    def of(cls, run: Run, tables: Sequence[str]) -> "Version":
        """The version that the night's present tables make. Raises AuditError if they are of different models."""
        manifests = {table: run.manifest(table) for table in tables}
        models = {table: manifest.details[Columns.MODEL_ID] for table, manifest in manifests.items()}
        if len(set(models.values())) != 1:
            raise AuditError(f"{run.folder}: the tables are of different models: {models}; run recommend again")
        files = {table: manifest.files for table, manifest in manifests.items()}
        content = [[table, [[file.name, file.sha256] for file in files[table]]] for table in tables]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_HASH_DIGITS]
        named = {table: tuple(_renamed(file, digest) for file in files[table]) for table in tables}
        return cls(run.date, models[tables[0]], f"{run.date}-{digest}", named)

    def as_json(self) -> dict[str, Any]:
        """The description that the pointer and the version's folder have; paths are relative to the warehouse."""
        return {
            "date": self.date,
            Columns.MODEL_ID: self.model_id,
            "version": self.id,
            "tables": {
                table: {
                    "path": f"{_VERSIONS}/{self.id}/{table}",
                    "rows": sum(file.rows or 0 for file in files),
                    "files": [asdict(file) for file in files],
                }
                for table, files in self.tables.items()
            },
        }

    def write(self, path: Path) -> None:
        """Writes the description in one step."""
        write_atomically(path, json.dumps(self.as_json(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Version | None":
        """The description in a file, or None if it is missing or cannot be read."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            tables = {
                table: tuple(DataFile(**file) for file in found["files"]) for table, found in value["tables"].items()
            }
            return cls(value["date"], value[Columns.MODEL_ID], value["version"], tables)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True)
class Warehouse:
    """The places in the folder of published tables."""

    root: Path

    @classmethod
    def of(cls, lake: Path) -> "Warehouse":
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
        return self.root / _VERSIONS

    def version(self, version: Version) -> Path:
        """The folder of a version."""
        return self.versions / version.id

    def description(self, version: Version) -> Path:
        """The description in the folder of a version."""
        return self.version(version) / _DESCRIPTION

    def day(self, table: str, date: str) -> Path:
        """The folder of a table's published files of a date."""
        return self.root / table / f"ds={date}"

    def dates(self) -> list[str]:
        """The dates of which a table is published, newest first."""
        return newest_first(
            path.name.removeprefix("ds=") for table in RANKED for path in (self.root / table).glob("ds=*")
        )

    def latest(self) -> Version | None:
        """The version that the pointer names; None without a pointer that agrees with the version's description."""
        named = Version.read(self.pointer)
        return named if named is not None and Version.read(self.description(named)) == named else None

    def in_place(self, date: str) -> Version | None:
        """The version whose files are in the folders of a date, by their names; None if there is none."""
        for table in RANKED:
            for path in self.day(table, date).glob("*.parquet"):
                digest = path.stem.rpartition("-")[2]
                return Version.read(self.versions / f"{date}-{digest}" / _DESCRIPTION)
        return None

    def remove_dates(self, dates: Iterable[str]) -> None:
        """Removes the folders of the dates, each in one rename before its files are removed."""
        remove_folders((self.day(table, date) for date in dates for table in RANKED), self.staging)

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


def remove_folders(folders: Iterable[Path], trash: Path) -> None:
    """Removes the folders, and what a killed removal has left in `trash`."""
    shutil.rmtree(trash, ignore_errors=True)
    for folder in folders:
        if folder.exists():
            trash.mkdir(exist_ok=True)
            folder.rename(trash / folder.name)
            shutil.rmtree(trash)


def newest_first(names: Iterable[str]) -> list[str]:
    """Those of the names that are dates, each once, the newest first."""
    return sorted({name for name in names if _is_date(name)}, reverse=True)


def _is_date(name: str) -> bool:
    try:
        return datetime.date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


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


def _renamed(file: DataFile, digest: str) -> DataFile:
    name = Path(file.name)
    return replace(file, name=f"{name.stem}-{digest}{name.suffix}")
