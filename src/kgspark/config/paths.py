"""Paths in a configuration file: relative to the folder of the file, wherever the command runs."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgspark.config.settings import Settings, is_section, type_below


class InFile:
    """Marks a field of a path, `Annotated[str, IN_FILE]`: from a file, it is relative to the file's folder."""


IN_FILE = InFile()
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def from_folder(settings: type[Settings], values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a file in `folder`, with its relative paths as seen from the working folder.

    URIs and absolute paths stay as they are. Values may be wrong: they are checked later. `..` is resolved by the names
    of the folders, not by where links lead.
    """
    return {key: _moved(settings, key, value, folder) for key, value in values.items()}


def _moved(outer: Any, key: str, value: Any, folder: Path) -> Any:
    field = outer.model_fields.get(key) if is_section(outer) else None
    if isinstance(value, str) and field is not None and any(isinstance(mark, InFile) for mark in field.metadata):
        return _below(folder, value)
    below = type_below(outer, str(key))
    if below is None or not isinstance(value, Mapping):
        return value
    return {name: _moved(below, name, inner, folder) for name, inner in value.items()}


def _below(folder: Path, text: str) -> str:
    if not text or _SCHEME.match(text) or os.path.isabs(text) or folder == Path():
        return text
    return os.path.normpath(folder / text)
