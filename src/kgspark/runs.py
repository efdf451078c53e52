"""A night's folder and a stage's work: decides if an output is current, and replaces it as a whole.

The tables of a night are in `<lake>/runs/<run_date>/<table>/`. A stage writes its tables into a staging folder, each
with its manifest as the last file, and then moves each table into place with one rename. A stage is current if all its
tables have the fingerprint of its present inputs and settings. After a crash at any moment, either the earlier tables
are still there, or fingerprints differ and the stage runs again.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

import kgspark
from kgspark.errors import BusyError, StageError
from kgspark.files import DataFile, replace_folder
from kgspark.lineage import check_lineage
from kgspark.manifests import Manifest, versions
from kgspark.tables import READ_WHOLE, WRITTEN_BY

_STAGING = ".staging"
# full: every file that is read is compared with the checksum in its manifest. fast: only those of tables that are read
# as a whole; of the others, the names, sizes and rows of the files.
Verify = Literal["full", "fast"]
# The time that the JVM of a killed driver may need to end.
_SECONDS_TO_END = 10


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

    def table(self, name: str) -> Path:
        """The folder of a table of this night."""
        return self.folder / name

    def manifest(self, name: str) -> Manifest:
        """The manifest of a table that must exist; otherwise StageError with the table's name."""
        manifest = Manifest.read(self.table(name))
        if manifest is None:
            raise StageError(f"{self.table(name)}: no complete table here; run {WRITTEN_BY.get(name, name)} first")
        return manifest

    def manifests(self, names: Sequence[str]) -> list[Manifest]:
        """The manifests of tables that must exist and belong together; otherwise StageError with the stage to run."""
        found = [self.manifest(name) for name in names]
        try:
            check_lineage(names, lambda name: Manifest.read(self.table(name)))
        except StageError as error:
            raise StageError(f"{self.folder}: {error}") from None
        return found

    def find_damage(self, manifest: Manifest) -> str | None:
        """The first file of a table that is not as its manifest says, with the difference; None if all are."""
        checksums = self.verify == "full" or manifest.table in READ_WHOLE
        return manifest.find_damage(self.table(manifest.table), checksums)

    def check_files(self, names: Sequence[str]) -> None:
        """StageError if a file of these tables is not as its manifest says, with the stage to run again."""
        for manifest in map(self.manifest, names):
            if (damage := self.find_damage(manifest)) is not None:
                raise StageError(f"{damage}; run {manifest.stage} again")

    def earlier(self) -> Iterator["Run"]:
        """The nights of this lake before this one, the newest first."""
        for date in reversed(run_dates(self.lake)):
            if date < self.date:
                yield replace(self, date=date)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the night for this process; BusyError if another process works on it. A kill releases the lock."""
        with locked(self.folder, "this night"):
            yield


def run_dates(lake: Path) -> list[str]:
    """The dates of all nights in a lake, the newest last."""
    return sorted(path.name for path in (lake / "runs").glob("*") if re.fullmatch(r"\d{4}-\d\d-\d\d", path.name))


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Locks `folder` (created if missing) for this process; BusyError, with `what`, if another one has the lock.

    Spark's JVM inherits the lock. If a driver was killed, its JVM may write for a moment longer; the next process waits
    for it. StageError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StageError(
            f"{error.filename or folder}: {what} cannot be locked: {error.strerror}; remove what is in the way, or set "
            "lake to a folder that can be written"
        ) from error
    try:
        _lock(lock, folder, what)
        _held.append(lock)
        try:
            yield
        finally:
            _held.remove(lock)
            fcntl.flock(lock, fcntl.LOCK_UN)  # also for a JVM that inherited it and is still ending
    finally:
        os.close(lock)


# Descriptors of the locks that this process has.
_held: list[int] = []


def held_locks() -> list[int]:
    """Descriptors of the locks that this process has, for a child process that should keep them."""
    return list(_held)


def _lock(lock: int, folder: Path, what: str) -> None:
    """Takes the lock, and writes process and machine into it."""
    patience = time.monotonic() + _SECONDS_TO_END
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if _is_alive(os.pread(lock, 100, 0)) or time.monotonic() > patience:
                raise BusyError(
                    f"{folder}: another kgspark process is working on {what}; wait for it or stop it"
                ) from None
            time.sleep(0.1)
        except OSError as error:
            raise StageError(f"{folder}: the file system has no locks: {error.strerror}") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {socket.gethostname()}".encode(), 0)


def _is_alive(owner: bytes) -> bool:
    """False only if the process that wrote `owner` into a lock has ended, so that only its children have the lock."""
    pid, _, machine = owner.decode("utf-8", "replace").partition(" ")
    if machine != socket.gethostname() or not pid.isdecimal():
        return True
    try:
        return bool(psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


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
        manifests = [Manifest.read(self.run.table(name)) for name in self.outputs]
        current = [found for found in manifests if found is not None and found.fingerprint == self.fingerprint]
        return len(current) == len(manifests) and not any(map(self.run.find_damage, current))

    def check_inputs(self) -> None:
        """StageError if a file of the tables to read is not as its manifest says."""
        self.run.check_files(list(self.inputs))

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
                sources=self.sources,
                settings=self.settings,
                files=files[name],
                details=details.get(name, {}),
                versions=versions(),
                written=datetime.now(UTC).isoformat(timespec="seconds"),
            ).write(self.staging / name)
        for name in self.outputs:
            replace_folder(self.staging / name, self.run.table(name))
        shutil.rmtree(self.staging, ignore_errors=True)


def as_written(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a manifest gives them back: in JSON's types."""
    written: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return written
