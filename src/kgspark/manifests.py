"""The manifest of a table: the last file written into its folder, which marks the table as complete."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pyarrow as pa

import kgspark
from kgspark.files import DataFile, TableFiles, count_rows, hash_file, visible_names, write_atomically

MANIFEST = "_manifest.json"
_CHECKSUM = "checksum"
_HASHERS = 4
_ENGINES = ("pyspark", "torch", "tgraphx", "faiss-cpu", "numpy", "pyarrow")


@dataclass(frozen=True)
class Manifest:
    """Record of a complete table: its stage, inputs, settings and files.

    fingerprint  hash of everything that the table depends on (see `StageWork.fingerprint`)
    inputs       name of each table that was read, to its fingerprint
    sources      name of each source outside the night's folder, to its signature (see `files.source_signature`)
    content      hash of the rows in any order and any files (see `content.content_hash`); None if it has no rows
    details      values for later stages and reports
    version      in a lake on a store: the name of the prefix that has the files (see `stores.copies`); else empty
    etags        there: the ETag of each file's object, by name
    """

    table: str
    stage: str
    fingerprint: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    files: Sequence[DataFile]
    sources: Mapping[str, str] = field(default_factory=dict)
    content: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    written: str = ""
    version: str = ""
    etags: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows of the whole table."""
        return TableFiles(self.files).rows

    def find_damage(self, folder: Path, checksums: bool) -> str | None:
        """The first file of `folder` that is not as recorded here, with its path and the difference; None if all are.

        checksums  compares the content of every file; otherwise names, sizes, and the rows in Parquet's footers
        """
        names, present = {file.name for file in self.files}, set(visible_names(folder))
        for name in sorted(names ^ present):
            problem = "the file is missing" if name in names else "this is no file of the table"
            return f"{folder / name}: {problem}"
        return find_changed(folder, self.files, checksums)

    def as_text(self) -> str:
        """The content of `_manifest.json`, with a checksum of its own values."""
        value = json.loads(json.dumps(asdict(self) | {"rows": self.rows}, default=str))
        return json.dumps(value | {_CHECKSUM: _checksum(value)}, indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> None:
        """Writes `_manifest.json` in one step."""
        write_atomically(folder / MANIFEST, self.as_text())

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """The manifest in `folder`, or None if it is missing, cannot be read, or was changed after it was written."""
        try:
            value = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if value.pop(_CHECKSUM) != _checksum(value):
                return None
            value.pop("rows")
            value["files"] = [DataFile(**file) for file in value["files"]]
            return cls(**value)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def find_changed(folder: Path, files: Sequence[DataFile], checksums: bool) -> str | None:
    """The first of the files that is not as described, with its path and the difference; see `Manifest.find_damage`."""
    with ThreadPool(_HASHERS) as pool:  # hashing releases Python's lock
        return next(filter(None, pool.imap(partial(_difference, folder, checksums=checksums), files)), None)


def _difference(folder: Path, file: DataFile, checksums: bool) -> str | None:
    path = folder / file.name
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{path}: {size:,} bytes, {file.bytes:,} when it was written"
        if checksums:
            return None if hash_file(path) == file.sha256 else f"{path}: the content changed after it was written"
        rows = count_rows(path)
        return None if rows == file.rows else f"{path}: {rows} rows, {file.rows} when it was written"
    except (OSError, pa.ArrowException) as error:
        return f"{path}: it cannot be read ({error})"


def versions() -> dict[str, str]:
    """Versions of kgspark, Python, and the installed engine packages."""
    own = {"kgspark": kgspark.__version__, "python": platform.python_version()}
    return own | package_versions(_ENGINES)


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the installed ones of the packages."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
