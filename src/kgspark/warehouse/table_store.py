"""What all targets have in common that publish into tables of somebody else's store."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from kgspark.runs import Run
from kgspark.warehouse.publications import check_held


class TableStore(ABC):
    """Two functions of `Target`, by others of it and by two that each store has its own way for."""

    @abstractmethod
    def held(self, lake: Path) -> Mapping[str, str]:
        """See `Target`."""

    @abstractmethod
    def remove(self, lake: Path, dates: Collection[str]) -> None:
        """See `Target`."""

    @abstractmethod
    def _address(self, lake: Path) -> str:
        """The place of all tables, for messages."""

    @abstractmethod
    def _holds(self, run: Run, tables: Sequence[str], contents: bool) -> bool:
        """True if exactly these tables of the night are published.

        contents  reads the rows; False compares numbers, as far as the store tells them without reading
        """

    def is_there(self, run: Run, tables: Sequence[str]) -> bool:
        """True if exactly these tables of the night are published; rows are read if `run.verify` is full."""
        return self._holds(run, tables, run.verify == "full")

    def roll_back(self, run: Run) -> str:
        """Makes the run's date the newest one: removes all newer ones; returns in words what was done."""
        held = self.held(run.lake)
        check_held(self._address(run.lake), held, run.date)
        newer = [date for date in held if date > run.date]
        if newer:
            self.remove(run.lake, newer)
        return f"removed {', '.join(newer)}" if newer else "no newer date was there"
