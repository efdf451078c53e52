"""Locks on folders: one process works on a night, a search or the warehouse at a time. A kill releases its locks."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from kgspark.errors import BusyError, ResourceError

_NAME = ".lock"
# The time that the JVM of a killed driver may need to end.
_SECONDS_TO_END = 10


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Locks `folder` (created if missing) for this process; BusyError, with `what`, if another one has the lock.

    Spark's JVM inherits the lock. If a driver was killed, its JVM may write for a moment longer; the next process waits
    for it. StageError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ResourceError(
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


@contextmanager
def locked_in_turn(folder: Path) -> Iterator[None]:
    """Waits until no other process has the lock of `folder` (created if missing), and takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _NAME, "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_locked(folder: Path) -> bool:
    """True if a process has the lock of `folder` now."""
    try:
        with open(folder / _NAME, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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
            raise ResourceError(f"{folder}: the file system has no locks: {error.strerror}") from error
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
