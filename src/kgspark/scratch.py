"""Folders for temporary files that go away with their owner, also if it is killed.

A scratch folder is `<temporary folder>/kgspark-<uid>/<random name>`, and its owners hold a lock on it. The kernel
releases the lock when the last of them has ended. Whoever makes a new scratch folder removes those without an owner.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kgspark.errors import ResourceError


@dataclass(frozen=True)
class Scratch:
    """A folder that only this user can read.

    lock  descriptor with the lock; a child process that inherits it becomes an owner
    """

    folder: Path
    lock: int

    @classmethod
    def new(cls, root: Path) -> "Scratch":
        """A new folder below `root`, which is created if missing; ResourceError if it cannot be written."""
        try:
            parent = root / f"kgspark-{os.getuid()}"
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = parent.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise ResourceError(f"{parent}: expected a folder of this user; remove it, or set TMPDIR to another")
            with _alone(parent):
                _remove_ownerless(parent)
                folder = Path(tempfile.mkdtemp(dir=parent))
                lock = os.open(folder, os.O_RDONLY)
                _try_lock(lock)
            return cls(folder, lock)
        except OSError as error:
            raise ResourceError(
                f"{root}: no temporary files can be written here: {error.strerror}; set TMPDIR, or where Spark is "
                "concerned SPARK_LOCAL_DIRS or spark.conf.spark.local.dir, to a folder that can"
            ) from error

    def remove(self) -> None:
        """Removes the folder and gives up the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)


def temporary_root() -> Path:
    """The folder that TMPDIR names, else the system's; ResourceError if there is none that can be written."""
    named = os.environ.get("TMPDIR")
    if named and not os.access(named, os.W_OK):  # Python would silently take another one, with less space perhaps
        raise ResourceError(f"TMPDIR: {named}: no such folder, or it cannot be written; create it, or unset TMPDIR")
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ResourceError(f"no temporary folder can be written; set TMPDIR to one ({error.strerror})") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process makes or removes scratch folders in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: then nothing is removed below
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_ownerless(parent: Path) -> None:
    for folder in parent.iterdir():
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _try_lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
