"""The data files of a table of the source, found once: every later step reads exactly this list."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from kgspark.errors import InputError
from kgspark.files import source_signature

_BOOKKEEPING = "bookkeeping of its writer"
_EMPTY = "empty"
_COPYING = r"\.te?mp|\.part|\.partial|\.crdownload|\.filepart|\.inprogress|\.swp|\._copying_"
# The first reason whose pattern fits the name of a file or folder in a source's folder.
_SKIPPED = {
    _BOOKKEEPING: re.compile(r"_SUCCESS|_(common_)?metadata|_(committed|started)_.*|.*\.crc"),
    # Spark reads no file whose name begins with an underscore, unless it is that of a partition, as in _day=1.
    "hidden": re.compile(r"\..*|_[^=]*"),
    "an unfinished copy": re.compile(rf".*({_COPYING})", re.IGNORECASE),
    "a backup copy": re.compile(r".*(~|\.bak|\.orig)", re.IGNORECASE),
}
_PATTERN = re.compile(r"[*?[]")


@dataclass(frozen=True)
class SourceFiles:
    """The files of one table.

    path     the file, folder or pattern as it was configured, for messages
    root     the folder that the names of the files are relative to; absolute
    files    the files to read, absolute, in the order of their names
    skipped  the name of each file or folder below `root` that is not read, to the reason
    version  if the files are a copy of a table that Spark opened: the table's version that was copied
    """

    path: Path
    root: Path
    files: tuple[Path, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    def name(self, file: Path) -> str:
        """The name of one of the files below `root`, such as `2026-11/part-0.csv`."""
        return file.relative_to(self.root).as_posix()

    @property
    def folders(self) -> set[str]:
        """The names of folders such as `day=1` below `root` that every file is in: here `day`."""
        paths = {file.relative_to(self.root).parent.parts for file in self.files}
        return set.intersection(*[{part.partition("=")[0] for part in path if "=" in part} for path in paths])

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def signature(self) -> str:
        """Changes if a file is added, removed, replaced or written, see `source_signature`; of a copy, its version."""
        return self.version or source_signature(self.files)


def find_files(text: str, setting: str) -> SourceFiles:
    """The data files of a file, of a folder with all its sub-folders, or of a pattern such as `in/*.csv`.

    setting  the key that names the path, for messages
    Raises InputError if there is no file with a byte in it.
    Takes one `stat` per file; with their first lines, 2,000 files take 0.4 s on a local disk.
    """
    path = local_path(text)
    if path.is_file():
        return _single(path)
    if path.is_dir():
        root, found = path.absolute(), _walk(path.absolute(), set())
    elif _PATTERN.search(text) and (matches := sorted(glob.glob(str(path.absolute()), recursive=True))):
        root = _fixed_part(path.absolute())
        found = (pair for match in map(Path, matches) for pair in _matched(match))
    else:
        raise InputError(f"{path}: no such file or folder; {setting}")
    reasons = dict(found)
    files = tuple(sorted(file for file, reason in reasons.items() if reason is None))
    skipped = {file.relative_to(root).as_posix(): reason for file, reason in sorted(reasons.items()) if reason}
    if not files:
        if _EMPTY in skipped.values():
            raise InputError(f"{path}: the file is empty; expected at least one line of data")
        raise InputError(f"{path}: the folder holds no file" + (f"; {format_skipped(skipped)}" if skipped else ""))
    return SourceFiles(path, root, files, skipped)


def format_skipped(skipped: Mapping[str, str]) -> str:
    """How many files were skipped for which reason, as text to print; empty if there is nothing to tell.

    Files such as _SUCCESS are in every folder that Spark wrote, and hold no data by design: they are not told.
    """
    counts = Counter(reason for reason in skipped.values() if reason != _BOOKKEEPING)
    if not counts:
        return ""
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    total = counts.total()
    return f"skipped {total:,} {'file' if total == 1 else 'files'} ({told})"


def local_path(text: str) -> Path:
    """The path in `text`, which may be a URI; InputError if it is not on a disk."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() != "file":
        raise InputError(
            f"{text}: {scheme[1]} is not read; mount the storage, or copy the files to a disk that all executors see"
        )
    return Path(re.sub(r"^[^:]*:/+", "/", unquote(text)))


def _single(path: Path) -> SourceFiles:
    if not path.stat().st_size:
        raise InputError(f"{path}: the file is empty; expected at least one line of data")
    reason = _skip_reason(path.name)
    if reason is not None:
        raise InputError(f"{path}: by its name, this file is {reason}; rename it if it holds the data")
    return SourceFiles(path, path.absolute().parent, (path.absolute(),))


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first component of a pattern that is not literal."""
    literal = [part for part in pattern.parents if not _PATTERN.search(str(part))]
    return literal[0]


def _matched(path: Path) -> Iterator[tuple[Path, str | None]]:
    if path.is_dir():
        return _walk(path, set())
    return iter([(path, _skip_reason(path.name) or (None if path.stat().st_size else _EMPTY))])


def _walk(folder: Path, above: set[tuple[int, int]]) -> Iterator[tuple[Path, str | None]]:
    """Every file below a folder with the reason to skip it, or None; a skipped folder counts as one file.

    above  device and inode of the folders above: links are followed, but not in a circle
    """
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read: {error.strerror}") from None
    _refuse_table_formats(folder, {entry.name for entry in entries})
    above = above | {(status.st_dev, status.st_ino)}
    for entry in entries:
        path, reason = Path(entry.path), _skip_reason(entry.name)
        if reason is not None:
            yield path, reason
        elif entry.is_dir():
            inside = entry.stat()
            if (inside.st_dev, inside.st_ino) in above:
                yield path, "a link to a folder above"
            else:
                yield from _walk(path, above)
        elif entry.is_file():
            yield path, None if entry.stat().st_size else _EMPTY
        elif entry.is_symlink():
            raise InputError(f"{path}: a link to a file that is not there; remove the link, or deliver the file")
        else:
            yield path, "no plain file"


def _skip_reason(name: str) -> str | None:
    return next((reason for reason, pattern in _SKIPPED.items() if pattern.fullmatch(name)), None)


def _refuse_table_formats(folder: Path, names: set[str]) -> None:
    """InputError for the folder of a table format: its log says which of the files count, and some of them do not."""
    formats = {
        "Delta": "_delta_log" in names,
        "Hudi": ".hoodie" in names,
        "Iceberg": "metadata" in names and any((folder / "metadata").glob("*.metadata.json")),
    }
    for name, is_found in formats.items():
        if is_found:
            raise InputError(
                f"{folder}: the table is in the format {name}, whose files may hold rows that were deleted since; "
                "write its present rows to a folder of Parquet files"
            )
