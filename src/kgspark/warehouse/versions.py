"""Versions: the published tables of one night, in files that never change, and what a warehouse does with them.

A version's name has a hash of its content, and so has each file's. A reader that listed a folder before it was replaced
finds the file that it listed, or none, but never another version's file. `folder` and `object_store` have the layouts.
"""

import datetime
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kgspark.errors import AuditError
from kgspark.files import DataFile, write_atomically
from kgspark.runs import Run
from kgspark.tables import Columns

SUCCESS = "_SUCCESS"
VERSIONS, DESCRIPTION = "_versions", "_version.json"
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
                    "path": f"{VERSIONS}/{self.id}/{table}",
                    "rows": sum(file.rows or 0 for file in files),
                    "files": [asdict(file) for file in files],
                }
                for table, files in self.tables.items()
            },
        }

    def as_text(self) -> str:
        """The content of a description."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Writes the description in one step."""
        write_atomically(path, self.as_text())

    @classmethod
    def read(cls, path: Path) -> "Version | None":
        """The description in a file, or None if it is missing or cannot be read."""
        try:
            return cls.from_text(path.read_bytes())
        except OSError:
            return None

    @classmethod
    def from_text(cls, text: bytes) -> "Version | None":
        """The version of a description, or None if it is not one."""
        try:
            value = json.loads(text)
            tables = {
                table: tuple(DataFile(**file) for file in found["files"]) for table, found in value["tables"].items()
            }
            return cls(value["date"], value[Columns.MODEL_ID], value["version"], tables)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class Warehouse(ABC):
    """The place of the target `files`: a folder, or a place in an object store.

    `latest`  what the pointer names. `in_place`  what is published under a date.
    """

    @property
    @abstractmethod
    def address(self) -> str:
        """The place of all published tables: a folder or a URI."""

    @abstractmethod
    def publish(self, run: Run, version: Version) -> None:
        """Writes a version of a night, puts it under its date, and moves the pointer last.

        The pointer names the version of the newest date, so an earlier date that is published again does not move it.

        Raises AuditError if a file differs from the audited one, ResourceError if the warehouse cannot be written.
        """

    @abstractmethod
    def is_published(self, version: Version, checksums: bool) -> bool:
        """True if the version, its date and the pointer hold exactly the version's files.

        checksums  reads the files; otherwise names, sizes and rows or ETags are compared
        """

    @abstractmethod
    def point_to(self, version: Version, checksums: bool) -> None:
        """Lets the pointer name a version, whose files are checked first; StageError if they are damaged."""

    @abstractmethod
    def latest(self) -> Version | None:
        """The version that the pointer names; None without a pointer that agrees with the version's description."""

    @abstractmethod
    def in_place(self, date: str) -> Version | None:
        """The version that is published under a date; None if there is none."""

    @abstractmethod
    def dates(self) -> list[str]:
        """The dates of which a table is published, newest first."""

    @abstractmethod
    def version_ids(self) -> list[str]:
        """The ids of all versions, the last published first."""

    @abstractmethod
    def remove_dates(self, dates: Iterable[str]) -> None:
        """Removes what is published under the dates; their versions stay."""

    @abstractmethod
    def remove_versions(self, ids: Iterable[str]) -> None:
        """Removes versions."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Waits until no other process of this machine changes the warehouse, and locks it."""

    @abstractmethod
    def file_sizes(self, run: Run) -> list[int]:
        """The size in bytes of each file of a night: its own, its published ones, and its versions'."""

    @abstractmethod
    def day_of(self, table: str, date: str) -> str:
        """The place of a table's published files of a date."""

    @abstractmethod
    def table_of(self, table: str) -> str:
        """The place of all dates of a table, as Spark names it."""

    @abstractmethod
    def version_of(self, version: Version, table: str) -> str:
        """The place of a table's files in a version, as Spark names it."""

    @abstractmethod
    def readable(self, table: str, date: str) -> Path | None:
        """A folder of this machine with a table's published files of a date; None if there are none."""


def newest_first(names: Iterable[str]) -> list[str]:
    """Those of the names that are dates, each once, the newest first."""
    return sorted({name for name in names if _is_date(name)}, reverse=True)


def _is_date(name: str) -> bool:
    try:
        return datetime.date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _renamed(file: DataFile, digest: str) -> DataFile:
    name = Path(file.name)
    return replace(file, name=f"{name.stem}-{digest}{name.suffix}")
