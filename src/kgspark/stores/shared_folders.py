"""Folders that every machine of a cluster can read and write: on a disk that all see, or in an object store.

A place is a text: the path of a folder, or the URI of a prefix in a store. Tasks get it, and read its files from a
folder of their own machine.
"""

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from kgspark.errors import ResourceError, StageError
from kgspark.locks import locked_in_turn
from kgspark.stores.store import Store, StoredObject, each_at_once
from kgspark.stores.uris import is_uri

# Prefix of the name of a file that is being written.
PARTIAL = ".partial-"
_COMPLETE = ".complete"
# Fetched folders that nobody has used for so long are removed when another one is fetched.
_UNUSED_SECONDS = 24 * 60 * 60


def readable(place: str) -> Path:
    """A folder of this machine with the files of a place; of a prefix in a store, fetched once per machine.

    Raises StageError if the prefix has no object.
    """
    return _fetched(place) if is_uri(place) else Path(place)


@contextmanager
def writing(place: str, name: str) -> Iterator[Path]:
    """A path of this machine for a new file of a place, where it appears under its name only when it is complete.

    On a disk, the path is in the folder itself, and its name begins with `PARTIAL`.
    """
    if is_uri(place):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            yield path
            Store(place).upload(path, name)
    else:
        path = Path(place) / f"{PARTIAL}{uuid.uuid4().hex}-{name}"
        yield path
        os.replace(path, Path(place) / name)


def _fetched(uri: str) -> Path:
    store = Store(uri)
    objects = store.objects()
    if not objects:
        raise StageError(f"{uri}: no files are here; run the command again")
    return _fetched_once(store, tuple(objects))


@lru_cache(maxsize=16)
def _fetched_once(store: Store, objects: tuple[StoredObject, ...]) -> Path:
    """The folder with these objects, whose name is made of their ETags: it is never of an earlier state."""
    state = hashlib.sha256(repr([store.uri, *[(each.key, each.etag) for each in objects]]).encode()).hexdigest()[:24]
    root = Path(tempfile.gettempdir()) / f"kgspark-{os.getuid()}-fetched"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise ResourceError(f"{root}: expected a folder of this user; remove it, or set TMPDIR to another")
    folder = root / state
    with locked_in_turn(root):  # the other tasks of this machine wait for the files
        if not (folder / _COMPLETE).exists():
            _remove_unused(root)
            _fetch(store, objects, folder)
        (folder / _COMPLETE).touch()
    return folder


def _fetch(store: Store, objects: Sequence[StoredObject], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    paths = [folder / each.key for each in objects]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    each_at_once(store.download, [each.key for each in objects], paths)


def _remove_unused(root: Path) -> None:
    for folder in root.iterdir():
        mark = folder / _COMPLETE
        if folder.is_dir() and not (mark.exists() and time.time() - mark.stat().st_mtime < _UNUSED_SECONDS):
            shutil.rmtree(folder, ignore_errors=True)
