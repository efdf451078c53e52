"""The manifest of a table: the last file written into its folder, which marks the table as complete."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import kgspark
from kgspark.files import DataFile, write_atomically

MANIFEST = "_manifest.json"
_ENGINES = ("pyspark", "torch", "tgraphx", "faiss-cpu", "numpy", "pyarrow")


@dataclass(frozen=True)
class Manifest:
    """Record of a complete table: its stage, inputs, settings and files.

    fingerprint  hash of everything that the table depends on (see `StageWork.fingerprint`)
    inputs       name of each table or outside source that was read, to its fingerprint or signature
    details      values for later stages and reports
    """

    table: str
    stage: str
    fingerprint: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    files: Sequence[DataFile]
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    written: str = ""

    @property
    def rows(self) -> int:
        """Number of rows of the whole table."""
        return sum(file.rows or 0 for file in self.files)

    def write(self, folder: Path) -> None:
        """Writes `_manifest.json` in one step."""
        text = json.dumps(asdict(self) | {"rows": self.rows}, indent=2, ensure_ascii=False, default=str)
        write_atomically(folder / MANIFEST, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """The manifest in `folder`, or None if it is missing or cannot be read."""
        try:
            value = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            value.pop("rows")
            value["files"] = [DataFile(**file) for file in value["files"]]
            return cls(**value)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


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
