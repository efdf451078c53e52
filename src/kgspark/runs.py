"""A night's folder and a stage's work: decides if an output is current, and replaces it as a whole.

The tables of a night are in `<lake>/runs/<run_date>/<table>/`. A stage writes its tables into a staging folder, each
with its manifest as the last file, and then moves each table into place with one rename. A stage is current if all its
tables have the fingerprint of its present inputs and settings. After a crash at any moment, either the earlier tables
are still there, or fingerprints differ and the stage runs again.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kgspark
from kgspark.errors import StageError
from kgspark.files import DataFile, has_size, replace_folder
from kgspark.manifests import Manifest, versions
from kgspark.tables import WRITTEN_BY

_STAGING = ".staging"


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

    @property
    def folder(self) -> Path:
        """`<lake>/runs/<run_date>`."""
        return self.lake / "runs" / self.date

    def table(self, name: str) -> Path:
        """The folder of a table of this night."""
        return self.folder / name

    def manifest(self, name: str) -> Manifest:
        """The manifest of a table that must exist; otherwise StageError with the table's name."""
        manifest = Manifest.read(self.table(name))
        if manifest is None:
            raise StageError(f"{self.table(name)}: no complete table here; run {WRITTEN_BY.get(name, name)} first")
        return manifest

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the night for this process; StageError if another process works on it. A kill releases the lock."""
        with locked(self.folder, "this night"):
            yield


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Locks `folder` (created if missing) for this process; StageError, with `what`, if another one has the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(
                f"{folder}: another kgspark process is working on {what}; wait for it or stop it"
            ) from None
        yield


@dataclass(frozen=True)
class StageWork:
    """One stage of one night: its inputs and outputs, and the check if the outputs are current."""

    run: Run
    stage: str
    outputs: tuple[str, ...]
    inputs: Mapping[str, str]
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
        """Plans a stage that reads the tables `reads`, which must be complete, and files outside the lake.

        sources  name of each outside source to its signature (see `source_signature`)
        """
        manifests = [run.manifest(name) for name in reads]
        _check_written_together(run, manifests)
        inputs = {manifest.table: manifest.fingerprint for manifest in manifests} | dict(sources or {})
        return cls(run, stage, tuple(writes), inputs, json.loads(json.dumps(settings, default=str)))

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the output depends on: version, stage, inputs and settings."""
        parts = [kgspark.__version__, self.stage, sorted(self.inputs.items()), self.settings]
        # Keys keep their order, because the order of the relations decides the order of the kinds.
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def is_current(self) -> bool:
        """True if every output is complete and has this fingerprint, and its files have their recorded sizes."""
        manifests = [(name, Manifest.read(self.run.table(name))) for name in self.outputs]
        return all(
            manifest is not None
            and manifest.fingerprint == self.fingerprint
            and all(has_size(self.run.table(name) / file.name, file.bytes) for file in manifest.files)
            for name, manifest in manifests
        )

    @property
    def staging(self) -> Path:
        """The folder that the stage writes into before it commits."""
        return self.run.folder / _STAGING / self.stage

    def begin(self) -> dict[str, Path]:
        """Removes the remains of a failed attempt; returns the folder of each output, which does not exist yet."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir(parents=True)
        return {name: self.staging / name for name in self.outputs}

    def commit(self, files: Mapping[str, Sequence[DataFile]], details: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes each table's manifest into staging, then moves every table into place."""
        for name in self.outputs:
            Manifest(
                table=name,
                stage=self.stage,
                fingerprint=self.fingerprint,
                inputs=self.inputs,
                settings=self.settings,
                files=files[name],
                details=details.get(name, {}),
                versions=versions(),
                written=datetime.now(UTC).isoformat(timespec="seconds"),
            ).write(self.staging / name)
        for name in self.outputs:
            replace_folder(self.staging / name, self.run.table(name))
        shutil.rmtree(self.staging, ignore_errors=True)


def _check_written_together(run: Run, manifests: Sequence[Manifest]) -> None:
    """StageError if a stage was killed between the moves of its tables, so that some are old and some are new."""
    first: dict[str, Manifest] = {}
    for manifest in manifests:
        other = first.setdefault(manifest.stage, manifest)
        if other.fingerprint != manifest.fingerprint:
            raise StageError(
                f"{run.folder}: {other.table} and {manifest.table} are of different runs of {manifest.stage}; "
                "run that stage again"
            )
