"""Lines of YAML with comments."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

_COLUMN = 42
_LONGEST_COMMENT = 150


def or_else(others: Sequence[str]) -> str:
    """The question if another column is meant, for the end of a comment; empty if there is none."""
    return f"; or is it {' or '.join(others)}?" if others else ""


def line(key: str, value: object, comment: str) -> str:
    """A key with its value, and the comment in its column."""
    text = f"{key}: {plain(value)}"
    shown = " ".join(comment.split())
    shown = "".join(char if char.isprintable() else "?" for char in shown)
    return f"{text:<{_COLUMN}}  # {shown[:_LONGEST_COMMENT]}"


def plain(value: object) -> str:
    """A value on one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=100_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def relative(path: Path, folder: Path) -> str:
    """The path as seen from the folder of the configuration; an absolute one stays so, unless it is below."""
    if path.is_absolute() and not path.is_relative_to(folder.absolute()):
        return str(path)
    return os.path.relpath(path, folder)
