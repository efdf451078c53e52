"""The table of publish targets. To add one, write a module with the three functions of `Target`, and list it here."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kgspark.runs import Run
from kgspark.warehouse import files


class Target(Protocol):
    """A destination of a night's audited tables. A module with these functions is a target.

    Tables are named as in `kgspark.tables`; their files and manifests are in the night's folder `run`. The module is
    imported with the settings, so it imports heavy or optional packages inside its functions.
    """

    def publish(self, run: Run, tables: Sequence[str]) -> Mapping[str, Any]:
        """Replaces what is published of this date by exactly these tables, all at once as far as the target can.

        A ranked table that is not among them is removed, because it would be of another model. A publication that was
        killed is completed or replaced by the next one. Returns what was published where, for the manifest, in JSON's
        types. Raises AuditError if a file differs from its description in the manifest.
        """

    def is_there(self, run: Run, tables: Sequence[str]) -> bool:
        """True if exactly the present tables of `run` are published, unchanged; otherwise the stage publishes again."""

    def place(self, run: Run, table: str) -> str:
        """The location of the published table, for a person who wants to read it: a path, a URL, a table's name."""


TARGETS: dict[str, Target] = {"files": files}
