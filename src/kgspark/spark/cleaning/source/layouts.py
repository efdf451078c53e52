"""The layout of the lines of a text table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextLayout:
    """The layout of a text table's lines.

    columns    our names of the fields, in order
    header     the header line of every file, or None if they have none
    quoted     True if fields may be in double quotes, with "" for a quote inside
    or_utf8    True if lines that are valid UTF-8 are read as such, whatever the encoding
    """

    separator: str
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    header: str | None = None
    quoted: bool = False
    or_utf8: bool = False

    def decode(self, line: bytes) -> str:
        """The text of a line; bytes that are not valid in the encoding are replaced."""
        if self.or_utf8:
            try:
                return line.decode("utf-8")
            except UnicodeDecodeError:
                pass
        return line.decode(self.encoding, errors="replace")
