"""Files and folders: descriptions, signatures, and writing or replacing in one step."""

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True)
class DataFile:
    """One file of a table, as its manifest lists it. `rows` is None if the file is not Parquet."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None


def replace_folder(new: Path, target: Path) -> None:
    """Moves `new` to `target`. A reader finds the complete old folder or the complete new one.

    If the kernel can exchange two names (Linux, local disks), `target` exists at every moment. Otherwise the old folder
    is renamed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".old-{target.name}")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        if _exchange(new, target):
            os.rename(new, old)
        else:
            os.rename(target, old)
            os.rename(new, target)
    else:
        os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """renameat2(RENAME_EXCHANGE); False if the system does not offer it."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def write_atomically(path: Path, text: str) -> None:
    """Writes a small text file; a reader finds the complete old text or the complete new one."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def has_size(path: Path, size: int) -> bool:
    """True if the file exists and has exactly `size` bytes."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def describe_file(path: str | Path) -> DataFile:
    """Size, SHA-256 and, for Parquet, the row count of a file."""
    path = Path(path)
    return DataFile(path.name, path.stat().st_size, hash_file(path), count_rows(path))


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def count_rows(path: Path) -> int | None:
    """The row count in the footer of a Parquet file; None for other files."""
    return pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None


def describe_folder(folder: Path) -> list[DataFile]:
    """`describe_file` of every plain file in `folder`, by name, without those that every reader skips."""
    return [describe_file(folder / name) for name in visible_names(folder) if (folder / name).is_file()]


def visible_names(folder: Path) -> list[str]:
    """What `folder` holds, sorted, without what every reader skips: names such as `_manifest.json` and `.part.crc`."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(("_", ".")))


def source_signature(paths: Sequence[Path]) -> str:
    """A hash of the names and states of files outside the lake; it changes if a file is replaced or written.

    The state is size, time of modification, time of change and inode. The first two can be set, as `cp -p` and `rsync`
    do; the time of change cannot, on a local disk. So another content of equal size and time is seen, and a file that
    was only moved or got other permissions counts as changed.
    """
    seen = []
    for path in sorted(paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                status = file.stat()
                seen.append([str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()
