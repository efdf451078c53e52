"""What a file is, by its first bytes, whatever its name; and the first line of a text file."""

import bz2
import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from kgspark.errors import InputError
from kgspark.spark.cleaning.source.files import SourceFiles


class Kind(StrEnum):
    """The kinds of files that cleaning reads."""

    TEXT = "text"
    GZIP = "text in gzip"
    BZIP2 = "text in bzip2"
    ZSTD = "text in zstd"
    PARQUET = "Parquet"


# Spark decompresses by a file's name alone.
_ENDINGS = {".gz": Kind.GZIP, ".bz2": Kind.BZIP2, ".zst": Kind.ZSTD}
_OTHER_ENDINGS = (".deflate", ".lz4", ".snappy")
_READ = {
    rb"PAR1": Kind.PARQUET,
    rb"\x1f\x8b": Kind.GZIP,
    rb"BZh[1-9]1AY&SY": Kind.BZIP2,
    rb"\x28\xb5\x2f\xfd": Kind.ZSTD,
}
# A first line is cut after so many bytes.
LONGEST_HEADER = 64 << 10
_UNPACK = "unpack it"
_CONVERT = "write it as CSV or Parquet"
_BY_SPARK = "beside its path, set format: spark and reader: "
_NOT_READ = {
    rb"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or save it as CSV"),
    rb"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    rb"\xfd7zXZ": ("compressed by xz", _UNPACK),
    rb"\x04\x22\x4d\x18": ("compressed by lz4", _UNPACK),
    rb"Rar!": ("a rar archive", _UNPACK),
    rb".{257}ustar": ("a tar archive", _UNPACK),
    rb"ORC": ("ORC", f"{_BY_SPARK}orc"),
    rb"Obj\x01": ("Avro", f"{_BY_SPARK}avro"),
    rb"ARROW1": ("Arrow (Feather)", _CONVERT),
    rb"\x89HDF": ("HDF5", _CONVERT),
    rb"SQLite format 3": ("an SQLite database", _CONVERT),
    rb"\xd0\xcf\x11\xe0": ("an Excel workbook", "save it as CSV"),
    rb"\x80[\x02-\x05]": ("a Python pickle", f"{_CONVERT}; kgspark unpickles nothing"),
}
_TEXTS_WITHOUT_COLUMNS = {
    "{": ("JSON lines", f"{_BY_SPARK}json"),
    "[": ("JSON", "write one object per line"),
    "<": ("HTML or XML", _CONVERT),
}


def kind_of(path: Path) -> Kind:
    """The kind of a file that is not empty; InputError for a file of another kind, and for one that cannot be read."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(512)
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read: {error.strerror}") from None
    for pattern, (what, advice) in _NOT_READ.items():
        if re.match(pattern, start, re.DOTALL):
            raise InputError(f"{path}: the file is {what}; {advice}")
    encoding = _utf_16(start)
    if encoding is not None:
        raise InputError(f"{path}: the file is UTF-16; convert it to UTF-8 (iconv -f {encoding} -t utf-8)")
    kind = next((kind for pattern, kind in _READ.items() if re.match(pattern, start)), Kind.TEXT)
    if kind != Kind.PARQUET and (path.suffix in _OTHER_ENDINGS or _ENDINGS.get(path.suffix, Kind.TEXT) != kind):
        ending = next((ending for ending, named in _ENDINGS.items() if named == kind), ".csv")
        raise InputError(
            f"{path}: by its first bytes the file is {kind}, but Spark goes by its name; rename it to end in {ending}"
        )
    return kind


def are_parquet(files: SourceFiles) -> bool:
    """True for Parquet, False for text; InputError for files of both kinds, and for what `kind_of` refuses."""
    kinds = {file: kind_of(file) for file in files.files}
    first = files.files[0]
    for file, kind in kinds.items():
        if (kind == Kind.PARQUET) != (kinds[first] == Kind.PARQUET):
            raise InputError(
                f"{files.path}: {files.name(file)} is {kind} and {files.name(first)} is {kinds[first]}; "
                "the files of a table are of one kind"
            )
    return kinds[first] == Kind.PARQUET


def is_compressed(path: Path) -> bool:
    """True for a text file in gzip, bzip2 or zstd."""
    return path.suffix in _ENDINGS


def open_text(path: Path) -> IO[bytes]:
    """Opens a text file of any `Kind`, decompressed. Reading may raise one of `UNPACKING_ERRORS`."""
    openers: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".zst": _open_zstd}
    stream: IO[bytes] = openers.get(path.suffix, open)(path, "rb")
    return stream


def _open_zstd(path: Path, mode: str) -> IO[bytes]:
    return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))


UNPACKING_ERRORS = (OSError, EOFError, zlib.error, pa.ArrowException)


def first_line(path: Path, encoding: str) -> str | None:
    """The first line of a text file, without its end and its byte order mark; None if the file unpacks to nothing."""
    start = _start(path)
    return line_at(start, encoding) if start else None


def first_lines(path: Path) -> list[str]:
    """The lines in UTF-8 at the beginning of a text file; the last one may be cut off."""
    return _start(path, whole=True).decode(errors="replace").splitlines()


def is_json_object(path: Path) -> bool:
    """True if a text file begins with a JSON object."""
    return (first_line(path, "utf-8") or "").lstrip().startswith("{")


def _start(path: Path, whole: bool = False) -> bytes:
    """The first line of a text file or, if `whole`, as many bytes as a first line may have."""
    try:
        with open_text(path) as stream:
            return stream.read(LONGEST_HEADER) if whole else stream.readline(LONGEST_HEADER)
    except UNPACKING_ERRORS as error:
        raise InputError(f"{path}: the file cannot be unpacked: {error}; it may be cut off") from None


def line_at(start: bytes, encoding: str) -> str:
    """The first line of a file that begins with the bytes `start`, without its end and its byte order mark."""
    text = start[:LONGEST_HEADER].removeprefix(codecs.BOM_UTF8).decode(encoding, errors="replace")
    return re.split("[\r\n]", text, maxsplit=1)[0]


def shown(line: str) -> str:
    """The beginning of a line as text to print: bytes that are no text are escaped, so that no terminal obeys them."""
    return repr(line[:80])


def refuse_other_texts(path: Path, line: str) -> None:
    """InputError if a first line is not that of a table: JSON, HTML, or bytes that are no text."""
    found = _TEXTS_WITHOUT_COLUMNS.get(line.lstrip()[:1])
    if found is not None:
        raise InputError(f"{path}: the file is {found[0]}, by its first line {shown(line)}; {found[1]}")
    if re.search(r"[\x00-\x08\x0e-\x1f]", line):
        raise InputError(f"{path}: the file is no text: it begins with {shown(line[:20])}; {_CONVERT}")


def _utf_16(start: bytes) -> str | None:
    """The encoding for `iconv`, by the byte order mark, or by every second byte being zero."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [start[side::2].count(0) for side in (0, 1)]
    if len(start) >= 16 and max(zeros) > 0.9 * (len(start) // 2) and min(zeros) < 0.1 * max(zeros):
        return "utf-16le" if zeros[1] > zeros[0] else "utf-16be"
    return None
