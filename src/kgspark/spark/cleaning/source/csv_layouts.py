"""The layout of CSV tables, found by the header line that their files share."""

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.kinds import first_line, refuse_other_texts, shown
from kgspark.spark.cleaning.source.layouts import TextLayout

_SEPARATORS = (",", ";", "\t", "|")


def header_layout(
    files: SourceFiles, settings: SourceSettings, columns: Mapping[str, str], required: Collection[str]
) -> TextLayout:
    """The layout by the header, which must be the first line of every file.

    columns   our names of the columns, by the source's names; other columns are not read
    required  the source's names that must be there, or be the name of a folder
    Raises InputError if a file has another header, or if the header lacks a column or has one twice.
    """
    encoding = _encoding(settings)
    first, header = shared_header(files, encoding)
    folders = files.folders
    required = [name for name in required if name not in folders]
    separator = settings.separator or _find_separator(header, required)
    names = split_header(header, separator)
    _check_columns(first, header, names, columns, required)
    ours = tuple(columns.get(name, f"_{i}") for i, name in enumerate(names))
    return TextLayout(separator, ours, encoding, header, quoted=True).with_folders(columns, folders)


def shared_header(files: SourceFiles, encoding: str) -> tuple[Path, str]:
    """The header, and the first file that has it; InputError if a file begins with another line, or is no table."""
    first, header = _first_line(files, encoding)
    refuse_other_texts(first, header)
    for file in files.files:
        other = first_line(file, encoding)
        if other is not None and other != header:
            refuse_other_texts(file, other)
            raise InputError(f"{file}:1: the header differs from that of {first}; the files of a table share one")
    return first, header


def split_header(line: str, separator: str) -> list[str]:
    """The names of the columns in a header line, without quotes and the blanks around them."""
    if len(separator) > 1:
        return [name.strip().strip('"') for name in line.split(separator)]
    return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]


def layout_without_header(
    files: SourceFiles, settings: SourceSettings, names: Sequence[str], columns: Mapping[str, str]
) -> TextLayout:
    """The layout of files that begin with a line of data, with the names of `source.header` for their fields."""
    encoding = _encoding(settings)
    first, line = _first_line(files, encoding)
    refuse_other_texts(first, line)
    fitting = [separator for separator in _SEPARATORS if len(split_header(line, separator)) == len(names)]
    separator = settings.separator or (fitting or _SEPARATORS)[0]
    folders = files.folders
    missing = [name for name in columns if name not in names and name not in folders]
    if missing:
        raise InputError(f"source.header: lacks {', '.join(missing)}; name the columns in source.columns")
    if split_header(line, separator) == list(names):
        raise InputError(f"{first}:1: the file has the header line {shown(line)}; remove source.header")
    ours = tuple(columns.get(name, f"_{i}") for i, name in enumerate(names))
    return TextLayout(separator, ours, encoding, quoted=True).with_folders(columns, folders)


def _first_line(files: SourceFiles, encoding: str) -> tuple[Path, str]:
    """The first line of the first file that has one."""
    for file in files.files:
        line = first_line(file, encoding)
        if line is not None:
            return file, line
    raise InputError(f"{files.path}: the files unpack to nothing; expected at least one line of data")


def _encoding(settings: SourceSettings) -> str:
    return "utf-8" if settings.encoding == "auto" else settings.encoding


def _find_separator(header: str, required: Collection[str]) -> str:
    """The separator with which the header has every required column; if there is none, the most frequent one."""
    fitting = [separator for separator in _SEPARATORS if set(required) <= set(split_header(header, separator))]
    return fitting[0] if fitting else max(_SEPARATORS, key=header.count)


def _check_columns(
    file: Path, header: str, names: Sequence[str], columns: Mapping[str, str], required: Collection[str]
) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1 and name in columns]
    if repeated:
        raise InputError(
            f"{file}:1: the header has {repeated[0]} twice, so its values are uncertain; rename one of the columns"
        )
    missing = [name for name in required if name not in names]
    if not missing:
        return
    if any(_is_number(name) for name in names):
        raise InputError(
            f"{file}:1: the first line, {shown(header)}, holds values instead of column names; name the columns of "
            "the file, in order, in source.header"
        )
    found = ", ".join(name if name.isprintable() else repr(name) for name in names) or "an empty line"
    raise InputError(
        f"{file}:1: the header lacks {', '.join(missing)}; found {found[:300]}; name the columns in source.columns"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
