"""The table of publish targets. To add one, write a module with the three functions of `Target`, and list it here."""

from collections.abc import Sequence
from typing import Protocol

from kgspark.runs import Run
from kgspark.warehouse import files


class Target(Protocol):
    """A destination of a night's audited tables. A module with these functions is a target.

    Tables are named as in `kgspark.tables`; their files and manifests are in the night's folder `run`. The module is
    imported with the settings, so it imports heavy or optional packages inside its functions.
    """

    def publish(self, run: Run, tables: Sequence[str]) -> None:
        """Replaces the published tables of this date, so that no reader sees half of a table.

        Raises AuditError if a file differs from its description in the manifest.
        """

    def is_there(self, run: Run, table: str) -> bool:
        """True if the present table of `run` is published; False makes the stage publish again."""

    def place(self, run: Run, table: str) -> str:
        """The location of the published table, for a person who wants to read it: a path, a URL, a table's name."""


TARGETS: dict[str, Target] = {"files": files}
