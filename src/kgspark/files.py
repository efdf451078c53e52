"""Files and folders: descriptions, signatures, and writing or replacing in one step."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Numbers of the Linux kernel.
_AT_FDCWD, _RENAME_EXCHANGE, _FICLONE = -100, 2, 0x40049409
_COPY_BYTES = 16 << 20


@dataclass(frozen=True)
class DataFile:
    """One file of a table, as its manifest lists it. `rows` is None if the file is not Parquet."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class TableFiles:
    """The files that a table was written to.

    content  hash of the rows (see `content.content_hash`); None if the files have no rows, or nobody has computed it
    """

    files: Sequence[DataFile]
    content: str | None = None

    @property
    def rows(self) -> int:
        """Number of rows of all files."""
        return sum(file.rows or 0 for file in self.files)


def replace_folder(new: Path, target: Path) -> None:
    """Moves `new` to `target`. A reader finds the complete old folder or the complete new one; see `swap_folders`."""
    swap_folders(new, target)
    shutil.rmtree(new, ignore_errors=True)


def swap_folders(new: Path, target: Path) -> None:
    """Moves `new` to `target`, and the folder that was there, if any, to `new`. The reverse call undoes it.

    If the kernel can exchange two names (Linux, local disks), `target` exists at every moment. Otherwise it is missing
    between two renames. All changes are on the disk when the call returns.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.rename(new, target)
    elif not _exchange(new, target):
        _exchange_by_renames(new, target)
    for folder in {new.parent, target.parent}:
        sync_folder(folder)


def _exchange(one: Path, other: Path) -> bool:
    """renameat2(RENAME_EXCHANGE); False if the system does not offer it."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _exchange_by_renames(new: Path, target: Path) -> None:
    aside = new.with_name(f"{new.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(target, aside)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(aside, target)
        raise
    os.rename(aside, new)


def copy_file(source: Path, target: Path) -> None:
    """Copies a file to a new one, whose content is on the disk when the call returns.

    Both share their blocks if the file system can (btrfs, XFS); a later change of one does not change the other.
    """
    with open(source, "rb") as read, open(target, "xb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:  # another file system, or one that cannot share blocks
            shutil.copyfileobj(read, written, _COPY_BYTES)
        written.flush()
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Writes the names in `folder` to the disk, so that they survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no such call for folders
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Writes a small text file; a reader finds the complete old text or the complete new one."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


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


def footers_in(folder: Path) -> dict[str, Callable[[], pa.Schema]]:
    """The name of each file of a table, to a function that reads the columns from its footer."""
    return {name: partial(pq.read_schema, folder / name) for name in visible_names(folder)}


def visible_names(folder: Path) -> list[str]:
    """What `folder` holds, sorted, without what every reader skips: names such as `_manifest.json` and `.part.crc`."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(("_", ".")))


def file_sizes(folders: Iterable[Path]) -> list[int]:
    """Bytes of each file in the folders and below; hard links of one file count once."""
    sizes = {}
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = os.lstat(os.path.join(place, name))
                    sizes[status.st_dev, status.st_ino] = status.st_size
    return list(sizes.values())


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
