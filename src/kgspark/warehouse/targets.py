"""The table of publish targets. To add one, write a module with a `Target`, and list it here.

A target with settings has its own section in `PublishSettings`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kgspark.runs import Run
from kgspark.warehouse import files
from kgspark.warehouse.delta import DeltaTarget
from kgspark.warehouse.hive import HiveTarget
from kgspark.warehouse.iceberg import IcebergTarget
from kgspark.warehouse.postgres import PostgresTarget

if TYPE_CHECKING:
    from kgspark.warehouse.settings import PublishSettings


class Target(Protocol):
    """A destination of a night's audited tables. An object or a module with these functions is a target.

    Tables are named as in `kgspark.tables`; their files and manifests are in the night's folder `run`. The module is
    imported with the settings, so it imports heavy or optional packages inside its functions.

    Each function raises StageError if the target cannot be reached or written.
    """

    def publish(self, run: Run, tables: Sequence[str]) -> Mapping[str, Any]:
        """Replaces what is published of this date by exactly these tables, all at once as far as the target can.

        A ranked table that is not among them is removed, because it would be of another model. A publication that was
        killed is completed or replaced by the next one. If the tables are there already, nothing is written. Returns
        what was published where, for the manifest, in JSON's types. Raises AuditError if a table is not as its manifest
        says, BusyError if another writer was faster.
        """

    def is_there(self, run: Run, tables: Sequence[str]) -> bool:
        """True if exactly the present tables of `run` are published, unchanged; otherwise the stage publishes again."""

    def place(self, run: Run, table: str) -> str:
        """The location of the published table, for a person who wants to read it: a path, a URL, a table's name."""

    def held(self, lake: Path) -> Mapping[str, str]:
        """The model of each published date, the newest first."""

    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """Removes what is published of these dates."""

    def roll_back(self, run: Run) -> str:
        """Makes the published tables of the run's date current again; returns in a few words what was done.

        Raises StageError if the date is not published in the target.
        """


# A function per target, which makes it of the settings and of a function that starts Spark or returns its session.
TARGETS: dict[str, Callable[["PublishSettings", Callable[[], Any]], Target]] = {
    "files": lambda settings, spark: files,
    "delta": lambda settings, spark: DeltaTarget(settings.delta),
    "iceberg": lambda settings, spark: IcebergTarget(settings.iceberg),
    "hive": lambda settings, spark: HiveTarget(settings.hive, spark),
    "postgres": lambda settings, spark: PostgresTarget(settings.postgres),
}
