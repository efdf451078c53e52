"""The layout of JSON lines: one object per line, whose keys are the columns."""

import json
from collections.abc import Collection, Mapping

from kgspark.errors import InputError
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.cleaning.source.kinds import first_lines, is_json_object, shown
from kgspark.spark.cleaning.source.layouts import TextLayout


def is_json_lines(files: SourceFiles) -> bool:
    """True if the first file begins with a JSON object; InputError if it does, and another file does not."""
    first = files.files[0]
    if not is_json_object(first):
        return False
    for file in files.files:
        if not is_json_object(file):
            raise InputError(
                f"{files.path}: {files.name(first)} is JSON lines and {files.name(file)} is not; "
                "the files of a table are of one kind"
            )
    return True


def json_layout(files: SourceFiles, columns: Mapping[str, str], required: Collection[str]) -> TextLayout:
    """The layout of JSON lines.

    columns   our names of the columns, by the source's names; other keys are not read
    required  the source's names that must be keys of one of the first lines, or names of folders

    Writers leave out keys without a value, so no single line has all of them.
    """
    first, folders = files.files[0], files.folders
    names = dict.fromkeys(name for line in first_lines(first) for name in _keys(line))
    missing = [name for name in required if name not in names and name not in folders]
    if missing:
        found = ", ".join(names)[:300] or f"a first line that is no JSON object: {shown(first_lines(first)[0])}"
        raise InputError(
            f"{first}:1: the first lines lack the key {', '.join(missing)}; found {found}; "
            "name the columns in source.columns"
        )
    keys = tuple(name for name in columns if name in names or name not in folders)
    layout = TextLayout("", tuple(columns[key] for key in keys), keys=keys)
    return layout.with_folders(columns, folders)


def _keys(line: str) -> list[str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return []  # a bad line, or the beginning of a long one
    return list(value) if isinstance(value, dict) else []
