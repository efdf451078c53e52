"""Target `files`: `<lake>/warehouse/<table>/ds=<run_date>/`, replaced as a whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kgspark.errors import AuditError
from kgspark.files import describe_file, has_size, replace_folder
from kgspark.runs import Run


def publish(run: Run, tables: Sequence[str]) -> None:
    """Moves each table into place with one rename, after the files of all tables were compared with their manifests.

    Raises AuditError if a file differs from the audited one; then nothing is replaced.
    """
    incoming = {table: _folder(run, table).with_name(f".incoming-ds={run.date}") for table in tables}
    try:
        for table, folder in incoming.items():
            _link_audited(run, table, folder)
        for table, folder in incoming.items():
            replace_folder(folder, _folder(run, table))
    finally:
        for folder in incoming.values():
            shutil.rmtree(folder, ignore_errors=True)


def is_there(run: Run, table: str) -> bool:
    """True if every file of the table is published with its size."""
    return all(has_size(_folder(run, table) / file.name, file.bytes) for file in run.manifest(table).files)


def place(run: Run, table: str) -> str:
    """The folder of the published files."""
    return str(_folder(run, table))


def _folder(run: Run, table: str) -> Path:
    return run.lake / "warehouse" / table / f"ds={run.date}"


def _link_audited(run: Run, table: str, incoming: Path) -> None:
    """Links the table's files into a new folder; AuditError if one differs from its description in the manifest."""
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    for file in run.manifest(table).files:
        source = run.table(table) / file.name
        _link(source, incoming / file.name)
        if describe_file(incoming / file.name) != file:
            raise AuditError(f"{source}: the file changed after it was written; run the stage again")


def _link(source: Path, target: Path) -> None:
    """A hard link; a copy if the warehouse is on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
