"""`kgspark init PATH`: writes a commented configuration for the tables at a path."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kgspark import config
from kgspark.errors import InputError, ResourceError
from kgspark.inspection.configuration import configuration, movielens_configuration
from kgspark.inspection.findings import Findings, look_at
from kgspark.inspection.tables import find_tables
from kgspark.night.settings import NightSettings
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import find_source
from kgspark.stores.uris import is_uri

_OUT = "own.yaml"


def run(
    path: str,
    others: Sequence[str],
    say: Callable[[str], None],
    out: str = _OUT,
    print: bool = False,
) -> dict[str, Any]:
    """Writes `out`, and returns its text. InputError if it exists, or if no table has users and items."""
    target = Path(out)
    if is_uri(path):
        raise InputError(f"{path}: kgspark init looks at files on a disk; copy one of the files of each table here")
    text, told = _movielens(path, target.parent) or _own_tables(path, target)
    _write(text, target, keep=not print)
    if print:
        say(text.rstrip())
    else:
        for line in (*told, f"{target} is written. Check its comments, then run", f"  kgspark nightly {target}"):
            say(line)
    return {"configuration": None if print else str(target), "text": text, "found": told}


def _movielens(path: str, folder: Path) -> tuple[str, list[str]] | None:
    """The configuration of a folder of MovieLens, or of a folder that has only such a folder; None for others."""
    within = [Path(path), *(sorted(Path(path).iterdir()) if Path(path).is_dir() else [])]
    for place in (each for each in within if each.is_dir()):
        try:
            dialect = find_source(SourceSettings(path=str(place))).format
        except InputError:
            continue
        return movielens_configuration(str(place), dialect, folder), [f"{place} is MovieLens, in the format {dialect}"]
    return None


def _own_tables(path: str, target: Path) -> tuple[str, list[str]]:
    tables, refused = find_tables(path)
    found = look_at(path, tables)
    notes = [f"Not looked at: {name}: {reason}"[:160] for name, reason in refused.items()]
    return configuration(found, target.parent, str(target), notes), _told(found)


def _told(found: Findings) -> list[str]:
    roles = found.roles.columns
    told = [f"{found.ratings.path}: " + ", ".join(f"{name} is the {role}" for role, name in roles.items())]
    if found.items is not None:
        told.append(f"{found.items.table.path}: the items, by {found.items.id}")
    if found.users is not None:
        told.append(f"{found.users.table.path}: the users, by {found.users.id}")
    return told


def _write(text: str, target: Path, keep: bool) -> None:
    """Writes the file if it can be loaded and describes what its tables have; only tries it if `keep` is False."""
    try:
        # In the same folder, because paths are relative to it.
        descriptor, name = tempfile.mkstemp(suffix=".yaml", dir=target.parent)
    except OSError as error:
        raise ResourceError(f"{target}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        find_source(config.load(NightSettings, name).source)
        if keep:
            os.chmod(name, 0o644)
            os.link(name, target)  # fails if somebody wrote the file meanwhile
    except FileExistsError:
        raise InputError(f"{target}: exists already; name another file: --out FILE") from None
    finally:
        os.unlink(name)
