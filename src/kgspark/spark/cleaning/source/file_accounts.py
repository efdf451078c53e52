"""Accounts of the files that cleaning read: their names, sizes, checksums and lines."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from pyspark.sql import SparkSession

from kgspark.errors import InputError
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.kinds import LONGEST_HEADER, UNPACKING_ERRORS, is_compressed, line_at, open_text
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.frames import map_files

_CHUNK = 4 << 20
# A last line is looked for in so many bytes at the end of a file.
_TAIL = 64 << 10


@dataclass(frozen=True)
class SourceFile:
    """One file of the source, as it was read.

    name      relative to the folder of its table
    sha256    checksum of the file's bytes
    lines     number of lines with headers, or of rows in Parquet
    headers   1 if the first line is the header
    finished  False if the last line has no line end
    state     its `SourceFiles.state` before it was read
    """

    name: str
    bytes: int
    sha256: str
    lines: int
    headers: int = 0
    finished: bool = True
    state: str = ""


@dataclass
class _Lines:
    """Counts the lines of a text, chunk by chunk."""

    count: int = 0
    start: bytes = b""
    last: bytes = b""

    def add(self, chunk: bytes) -> None:
        self.start += chunk[: LONGEST_HEADER - len(self.start)]
        self.count += _line_ends(self.last, chunk)
        self.last = chunk[-1:]

    @property
    def are_finished(self) -> bool:
        return self.last in (b"", b"\n", b"\r")


def text_accounts(session: SparkSession, files: SourceFiles, layout: TextLayout) -> list[SourceFile]:
    """Reads every byte of text files, for their checksums and the numbers of their lines and headers.

    It counts without Spark's reader, at some 500 MB per second and core. So it also checks that Spark read every line.
    """
    states = list(map(files.state, files.files))
    read = map_files(session, partial(_text_account, layout=layout), files.files)
    names = map(files.name, files.files)
    return [replace(file, name=name, state=state) for file, name, state in zip(read, names, states, strict=True)]


def parquet_accounts(session: SparkSession, files: SourceFiles, rows: Mapping[Path, int]) -> list[SourceFile]:
    """Reads every byte of Parquet files, for their checksums. `rows` has the number of rows of each file."""
    states = list(map(files.state, files.files))
    sums = map_files(session, _checksum, files.files)
    return [
        SourceFile(files.name(file), size, digest, rows[file], state=state)
        for file, (size, digest), state in zip(files.files, sums, states, strict=True)
    ]


def find_changed_file(
    session: SparkSession, files: SourceFiles, read: Sequence[SourceFile], checksums: bool
) -> str | None:
    """The first of the files `read` earlier that is not among `files` as it was, with the difference; None if all are.

    checksums  reads every byte; otherwise it is `find_other_state`. Objects of a store are never read: no content has
               the ETag of another one
    """
    if not checksums or files.fetched is not None:
        return find_other_state(files, read)
    return _first_difference(
        files,
        read,
        lambda file: file.sha256,
        lambda paths: [digest for _, digest in map_files(session, _checksum, paths)],
    )


def find_other_state(files: SourceFiles, read: Sequence[SourceFile]) -> str | None:
    """As `find_changed_file`, by names, sizes and `SourceFile.state` alone; reads no file."""
    return _first_difference(files, read, lambda file: file.state, lambda paths: list(map(files.state, paths)))


def _first_difference(
    files: SourceFiles,
    read: Sequence[SourceFile],
    before: Callable[[SourceFile], str],
    now: Callable[[list[Path]], list[str]],
) -> str | None:
    present = {files.name(file): file for file in files.files}
    for file in read:
        if file.name not in present:
            return f"{file.name} is missing"
    found = now([present[file.name] for file in read])
    changed = (file.name for file, other in zip(read, found, strict=True) if before(file) != other)
    return next((f"{name} has changed" for name in changed), None)


def _text_account(file: Path, layout: TextLayout) -> SourceFile:
    lines = _Lines()
    size, digest = _checksum(file, None if is_compressed(file) else lines)
    if is_compressed(file):
        try:
            with open_text(file) as stream:
                while chunk := stream.read(_CHUNK):
                    lines.add(chunk)
        except UNPACKING_ERRORS as error:
            raise InputError(f"{file}: the file cannot be unpacked: {error}; it may be cut off") from None
    return SourceFile(
        file.name,
        size,
        digest,
        lines=lines.count + (not lines.are_finished),
        headers=int(layout.header is not None and line_at(lines.start, layout.encoding) == layout.header),
        finished=lines.are_finished,
    )


def _checksum(file: Path, lines: _Lines | None = None) -> tuple[int, str]:
    """Size and SHA-256 of a file, whose chunks are added to `lines`."""
    digest, size = hashlib.sha256(), 0
    with open(file, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if lines is not None:
                lines.add(chunk)
    return size, digest.hexdigest()


def _line_ends(last: bytes, chunk: bytes) -> int:
    """Number of line ends (LF, CR, or both as one) in `chunk`, which follows the byte `last`."""
    carriage_returns = chunk.count(b"\r")
    pairs = chunk.count(b"\r\n") if carriage_returns else 0
    return chunk.count(b"\n") + carriage_returns - pairs - (last == b"\r" and chunk.startswith(b"\n"))


def format_unfinished(read: Sequence[SourceFile]) -> str:
    """How many files have a last line without a line end, as text to print; empty if none."""
    names = [file.name for file in read if not file.finished]
    if not names:
        return ""
    if len(names) == 1:
        return f"{names[0]} has no line end after its last line"
    return f"{len(names):,} files have no line end after their last line, such as {names[0]}"


def unfinished_lines(
    files: SourceFiles, layout: TextLayout, handling: Literal["auto", "keep", "quarantine"]
) -> list[tuple[Path, str]]:
    """File and text of each last line without a line end that counts as cut off.

    handling  quarantine: every one; keep: none; auto: one whose last field is shorter than that of the line before

    A file that is still being written, or whose copy broke off, ends anywhere. In the middle of a line the number of
    fields tells; in the last field nothing does, but that it is shorter than usual: 1600023 for 1600023000. Compressed
    files are not looked at, because one that broke off cannot be unpacked; nor are JSON lines by `auto`, because a part
    of an object is none.
    """
    if handling == "keep" or (layout.keys and handling == "auto"):
        return []
    found = ((file, _unfinished_line(file, layout, handling == "auto")) for file in files.files)
    return [(file, line) for file, line in found if line is not None]


def _unfinished_line(file: Path, layout: TextLayout, only_if_shorter: bool) -> str | None:
    if is_compressed(file):
        return None
    with open(file, "rb") as stream:
        start = max(0, stream.seek(0, 2) - _TAIL)
        stream.seek(start)
        lines = re.split(rb"\r\n|\n|\r", stream.read())
    # Of the first line only a part may have been read, and it may be the header.
    last, complete = layout.decode(lines[-1]), lines[1:-1]
    if not last or len(lines) == 1:
        return None
    if not only_if_shorter:
        return last
    separators = last.count(layout.separator)
    fields = (layout.decode(line).split(layout.separator) for line in reversed(complete))
    before = next((line for line in fields if len(line) == separators + 1), None)
    if before is None:
        return None
    return last if len(last.split(layout.separator)[-1].strip()) < len(before[-1].strip()) else None
