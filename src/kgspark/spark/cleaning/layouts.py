"""The layout of the lines of a text table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextLayout:
    """The layout of a text table's lines.

    columns    our names of the fields, in order
    header     the header line of every file, or None if they have none
    quoted     True if fields may be in double quotes, with "" for a quote inside
    """

    separator: str
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    header: str | None = None
    quoted: bool = False
