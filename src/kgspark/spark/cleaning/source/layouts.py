"""The layout of the lines of a text table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TextLayout:
    """The layout of a text table's lines.

    columns    our names of the fields, in order
    header     the header line of every file, or None if they have none
    quoted     True if fields may be in double quotes, with "" for a quote inside
    or_utf8    True if lines that are valid UTF-8 are read as such, whatever the encoding
    keys       of JSON lines: the key of each field; empty for separated fields
    folders    names of folders such as day=1 whose values are the last fields of every line
    """

    separator: str
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    header: str | None = None
    quoted: bool = False
    or_utf8: bool = False
    keys: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def with_folders(self, columns: Mapping[str, str], present: Collection[str]) -> "TextLayout":
        """The layout with a field for each folder that is a column, and that the lines do not have.

        columns  our names of the columns, by the source's names
        present  the names of the folders that every file is in, see `SourceFiles.folders`
        """
        names = tuple(name for name, ours in columns.items() if name in present and ours not in self.columns)
        return replace(self, columns=(*self.columns, *[columns[name] for name in names]), folders=names)

    def decode(self, line: bytes) -> str:
        """The text of a line; bytes that are not valid in the encoding are replaced."""
        if self.or_utf8:
            try:
                return line.decode("utf-8")
            except UnicodeDecodeError:
                pass
        return line.decode(self.encoding, errors="replace")
