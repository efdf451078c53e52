"""Target `files`: `<lake>/warehouse/<table>/ds=<run_date>/`, replaced as a whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kgspark.errors import AuditError
from kgspark.files import DataFile, describe_file, replace_folder


def publish(table: str, folder: Path, files: Sequence[DataFile], warehouse: Path, run_date: str) -> Path:
    """Publishes the audited files of `folder` and returns where they lie now.

    The files are linked (copied across disks) beside their destination, compared with what the manifest says of them,
    and then take the destination's place in one rename. Raises AuditError when a file is not what was audited.
    """
    target = warehouse / table / f"ds={run_date}"
    incoming = warehouse / table / f".incoming-ds={run_date}"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    for file in files:
        _link(folder / file.name, incoming / file.name)
        if describe_file(incoming / file.name) != file:
            shutil.rmtree(incoming)
            raise AuditError(f"{folder / file.name}: the file changed after it was written; run the stage again")
    replace_folder(incoming, target)
    return target


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
