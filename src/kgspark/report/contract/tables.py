"""The published tables as a contract describes them, before any format."""

from collections.abc import Sequence
from dataclasses import dataclass

from kgspark.published_schemas import PublishedColumn


@dataclass(frozen=True)
class Rule:
    """What holds in every published table, because the audit publishes nothing else.

    name    of the audit's check
    text    what holds, for people
    column  the column that the rule is about; empty if there are several
    unique  columns whose values together do not repeat; empty if the rule is about something else
    values  the values that the column may have; empty for any
    never   SQL condition that is true for no row; empty if there is none
    """

    name: str
    text: str
    column: str = ""
    unique: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    never: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """A published table. Columns have the names of the files.

    place  the files of all dates, as a pattern
    """

    name: str
    meaning: str
    place: str
    columns: Sequence[PublishedColumn]
    rules: Sequence[Rule]

    @property
    def key(self) -> list[str]:
        """The primary key."""
        return [column.name for column in self.columns if column.key]
