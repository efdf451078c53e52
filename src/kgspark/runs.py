"""A night's folder and a stage's work: decides if an output is current, and replaces it as a whole.

The tables of a night are in `<lake>/runs/<run_date>/<table>/`. A stage writes its tables into a staging folder, each
with its manifest as the last file, and then moves each table into place with one rename. A stage is current if all its
tables have the fingerprint of its present inputs and settings. After a crash at any moment, either the earlier tables
are still there, or fingerprints differ and the stage runs again.

If the lake is on an object store, these folders are this machine's copy of it (see `stores.copies`).
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

import kgspark
from kgspark.errors import StageError
from kgspark.files import TableFiles, footers_in, replace_folder
from kgspark.lineage import check_lineage
from kgspark.locks import locked
from kgspark.manifests import MANIFEST, Manifest, versions
from kgspark.stores.copies import Copy
from kgspark.tables import READ_WHOLE, WRITTEN_BY

_STAGING = ".staging"
# full: every file that is read is compared with the checksum in its manifest. fast: only those of tables that are read
# as a whole; of the others, the names, sizes and rows of the files.
Verify = Literal["full", "fast"]


@dataclass(frozen=True)
class Outcome:
    """The result of one stage.

    ran         False if the output was current already
    peak_bytes  peak memory of all processes of the night on this machine together, during the stage
    """

    stage: str
    ran: bool
    summary: str
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Run:
    """One night's folder."""

    lake: Path
    date: str
    verify: Verify = "full"

    @property
    def folder(self) -> Path:
        """`<lake>/runs/<run_date>`."""
        return self.lake / "runs" / self.date

    @property
    def copy(self) -> Copy | None:
        """This machine's copy of the lake, if the lake is on an object store."""
        return Copy.of(self.lake)

    def table(self, name: str) -> Path:
        """The folder of a table of this night. If the lake is on an object store, missing files are fetched."""
        folder = self.place(name)
        if (copy := self.copy) is not None:
            copy.fetch(folder)
        return folder

    def first_file(self, name: str) -> Path:
        """The first file of a table, for a look at it; only this one is fetched."""
        folder, first = self.place(name), self.manifest(name).files[0].name
        if (copy := self.copy) is not None:
            copy.fetch(folder, only=[first])
        return folder / first

    def footers(self, name: str) -> dict[str, Callable[[], pa.Schema]]:
        """The name of each Parquet file of a table, to a function that reads the columns from its footer."""
        folder, copy = self.place(name), self.copy
        if copy is None:
            return footers_in(folder)
        names = [file.name for file in self.manifest(name).files]
        prefix = copy.key_of(folder)
        return {name: partial(copy.store.parquet_schema, f"{prefix}/{name}") for name in names}

    def place(self, name: str) -> Path:
        """The folder of a table of this night, of which this machine needs no file."""
        return self.folder / name

    def find_manifest(self, name: str) -> Manifest | None:
        """The manifest of a table; None if the table is not complete."""
        return Manifest.read(self.place(name))

    def manifest(self, name: str) -> Manifest:
        """The manifest of a table that must exist; otherwise StageError with the table's name."""
        manifest = self.find_manifest(name)
        if manifest is None:
            raise StageError(f"{self.place(name)}: no complete table here; run {WRITTEN_BY.get(name, name)} first")
        return manifest

    def manifests(self, names: Sequence[str]) -> list[Manifest]:
        """The manifests of tables that must exist and belong together; otherwise StageError with the stage to run."""
        found = [self.manifest(name) for name in names]
        try:
            check_lineage(names, self.find_manifest)
        except StageError as error:
            raise StageError(f"{self.folder}: {error}") from None
        return found

    def find_damage(self, manifest: Manifest) -> str | None:
        """The first file of a table that is not as its manifest says, with the difference; None if all are."""
        checksums = self.verify == "full" or manifest.table in READ_WHOLE
        folder = self.place(manifest.table)
        if (copy := self.copy) is not None:
            return copy.find_damage(folder, manifest, checksums)
        return manifest.find_damage(folder, checksums)

    def check_files(self, names: Sequence[str], remedy: str = "") -> None:
        """StageError if a file of these tables is not as its manifest says, with the `remedy`.

        remedy  what to do about a night that is not tonight's; without it, the stage to run again
        """
        for manifest in map(self.manifest, names):
            if (damage := self.find_damage(manifest)) is not None:
                raise StageError(f"{damage}; {remedy or f'run {manifest.stage} again'}")

    def earlier(self) -> Iterator["Run"]:
        """The nights of this lake before this one, the newest first."""
        for date in reversed(run_dates(self.lake)):
            if date < self.date:
                yield replace(self, date=date)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the night for this process; BusyError if another process works on it. A kill releases the lock."""
        with locked(self.folder, "this night"):
            if (copy := self.copy) is None:
                yield
                return
            with copy.leased(self.date):
                yield


def run_dates(lake: Path) -> list[str]:
    """The dates of the nights in a lake that have a complete table, the newest last."""
    names = {path.parent.parent.name for path in (lake / "runs").glob(f"*/*/{MANIFEST}")}
    return sorted(name for name in names if re.fullmatch(r"\d{4}-\d\d-\d\d", name))


@dataclass(frozen=True)
class StageWork:
    """One stage of one night: its inputs and outputs, and the check if the outputs are current."""

    run: Run
    stage: str
    outputs: tuple[str, ...]
    inputs: Mapping[str, str]
    sources: Mapping[str, str]
    settings: Mapping[str, Any]

    @classmethod
    def plan(
        cls,
        run: Run,
        stage: str,
        *,
        reads: Sequence[str] = (),
        writes: Sequence[str],
        settings: Mapping[str, Any],
        sources: Mapping[str, str] | None = None,
    ) -> "StageWork":
        """Plans a stage that reads the tables `reads`, and files outside the night's folder.

        sources  name of each outside source to its signature (see `source_signature`)

        Raises StageError if a table is missing, or if the tables do not belong together.
        """
        inputs = {manifest.table: manifest.fingerprint for manifest in run.manifests(reads)}
        return cls(run, stage, tuple(writes), inputs, dict(sources or {}), as_written(settings))

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the output depends on: version, stage, inputs and settings."""
        inputs, sources = sorted(self.inputs.items()), sorted(self.sources.items())
        parts = [kgspark.__version__, self.stage, inputs, sources, self.settings]
        # Keys keep their order, because the order of the relations decides the order of the kinds.
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def is_current(self) -> bool:
        """True if every output is complete and has this fingerprint, and its files are as its manifest says."""
        manifests = list(map(self.run.find_manifest, self.outputs))
        current = [found for found in manifests if found is not None and found.fingerprint == self.fingerprint]
        return len(current) == len(manifests) and not any(map(self.run.find_damage, current))

    def check_inputs(self) -> None:
        """StageError if a file of the tables to read is not as its manifest says."""
        self.run.check_files(list(self.inputs))

    @property
    def staging(self) -> Path:
        """The folder that the stage writes into before it commits."""
        return self.run.folder / _STAGING / self.stage

    def remove_remains(self) -> None:
        """Removes what an attempt that failed or was killed has left."""
        shutil.rmtree(self.staging, ignore_errors=True)
        if (copy := self.run.copy) is not None:
            copy.discard(self.staging)

    def begin(self) -> dict[str, Path]:
        """Removes the remains of an earlier attempt; returns the folder of each output, which does not exist yet."""
        self.remove_remains()
        self.staging.mkdir(parents=True)
        return {name: self.staging / name for name in self.outputs}

    def commit(self, tables: Mapping[str, TableFiles], details: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes each table's manifest into staging, then moves every table into place.

        If the lake is on an object store, all files are sent first. Then each table becomes complete by its manifest.
        Raises BusyError if another process has written a table meanwhile.
        """
        copy, manifests = self.run.copy, {}
        for name in self.outputs:
            manifest = self._manifest(name, tables[name], details.get(name, {}))
            if copy is not None:
                (self.staging / name).mkdir(exist_ok=True)  # tasks may have written to the store only
                manifest = copy.send(self.staging / name, self.run.place(name), manifest)
            manifest.write(self.staging / name)
            manifests[name] = manifest
        for name, manifest in manifests.items():
            if copy is None:
                replace_folder(self.staging / name, self.run.place(name))
            else:
                copy.commit(self.staging / name, self.run.place(name), manifest)
        self.remove_remains()

    def _manifest(self, name: str, files: TableFiles, details: Mapping[str, Any]) -> Manifest:
        return Manifest(
            table=name,
            stage=self.stage,
            fingerprint=self.fingerprint,
            inputs=self.inputs,
            sources=self.sources,
            settings=self.settings,
            files=files.files,
            content=files.content,
            details=details,
            versions=versions(),
            written=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def first_difference(one: Any, other: Any, key: str = "") -> str | None:
    """The first dotted key whose values differ between two settings as written; None if there is none."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return None if one == other else key
    for name in [*one, *(other.keys() - one.keys())]:
        found = first_difference(one.get(name), other.get(name), f"{key}.{name}".strip("."))
        if found is not None:
            return found
    return None


def as_written(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a manifest gives them back: in JSON's types."""
    written: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return written
