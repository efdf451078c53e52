"""The nights of a lake, as objects of a notebook."""

from pathlib import Path

from kgspark.answers.lake_night import LakeNight
from kgspark.errors import InputError
from kgspark.runs import run_dates
from kgspark.stores.copies import open_lake, usual_folder
from kgspark.stores.uris import checked_uri, is_uri
from kgspark.warehouse.files import warehouse_of


class Lake:
    """A folder of nights, or a place in an object store that has one. Nothing is changed in it."""

    def __init__(self, uri: str | Path, copy: Path | None = None) -> None:
        """Opens the setting `lake` of a night: a path, or s3://, gs://, abfss://.

        copy  the folder of this machine's copy of a lake in a store; None for the usual one

        Raises InputError if there is no folder, or if the URI is not one.
        """
        self.uri = str(uri)
        if is_uri(self.uri):
            try:
                store = checked_uri(self.uri)
            except ValueError as error:
                raise InputError(f"lake: {error}") from None
            self.folder = copy or usual_folder(store)
            open_lake(self.folder, store)
        else:
            self.folder = Path(uri).expanduser().absolute()
            open_lake(self.folder, None)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no lake here; kgspark nightly makes one")

    def __repr__(self) -> str:
        return f"Lake({self.uri!r})"

    def dates(self) -> list[str]:
        """The dates of all nights, the newest first; of some only the published tables are left."""
        return sorted({*run_dates(self.folder), *warehouse_of(self.folder).dates()}, reverse=True)

    def nights(self) -> list[LakeNight]:
        """All nights, the newest first."""
        return [LakeNight(self.folder, date) for date in self.dates()]

    def latest(self) -> LakeNight:
        """The newest published night, which `_latest.json` names; InputError if none is published."""
        latest = warehouse_of(self.folder).latest()
        if latest is None:
            raise InputError(f"{self.uri}: no night is published here; there are {self._known()}")
        return LakeNight(self.folder, latest.date)

    def night(self, date: str) -> LakeNight:
        """The night of a date, YYYY-MM-DD; InputError if there is none."""
        if str(date) not in self.dates():
            raise InputError(f"{self.uri}: no night of {date} here; there are {self._known()}")
        return LakeNight(self.folder, str(date))

    def _known(self) -> str:
        dates = self.dates()
        shown = ", ".join(dates[:5]) or "none"
        return f"{shown} and {len(dates) - 5} earlier ones" if len(dates) > 5 else shown
