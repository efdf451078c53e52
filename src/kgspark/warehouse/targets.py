"""The table of publish targets. To add one: write a module with the three functions of `Target`, and name it here."""

from collections.abc import Sequence
from typing import Protocol

from kgspark.runs import Run
from kgspark.warehouse import files


class Target(Protocol):
    """A place for a night's audited tables. A module with these functions is a target.

    Tables are named as in `kgspark.tables`; their files and manifests lie in the night's folder `run`. The module is
    imported with the settings, so it imports heavy or optional packages inside its functions.
    """

    def publish(self, run: Run, tables: Sequence[str]) -> None:
        """Replaces what is published of this date, so that no reader sees half of a table.

        Raises AuditError if a file is not the one that its manifest describes.
        """

    def is_there(self, run: Run, table: str) -> bool:
        """True if the table is published as it is now in `run`; False makes the stage publish again."""

    def place(self, run: Run, table: str) -> str:
        """The place of the published table, as a person would look it up: a path, a URL, a table's name."""


TARGETS: dict[str, Target] = {"files": files}
