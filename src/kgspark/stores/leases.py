"""Leases in an object store, which has no locks: one process works on a night, whatever machine it runs on.

A lease is an object that its owner puts again every few seconds. Only one of several writers can put it, because each
put is bound to the state that the writer has seen. Nobody compares clocks: whoever wants a lease that another one has
watches the object, and takes it over if it has not changed for a minute. An owner that stood still for so long finds
out before it commits anything (`check_lease`).
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import psutil

from kgspark.errors import BusyError, StageError
from kgspark.stores.store import LostError, Store

_RENEW_SECONDS = 15
# An owner that has not renewed its lease for so long has ended, or cannot reach the store.
_PATIENCE_SECONDS = 60
_WATCH_SECONDS = 2
# A renewal that still waits for the store when the work is done is not waited for.
_END_SECONDS = 5


@contextmanager
def leased(store: Store, key: str, what: str, wait: bool = False) -> Iterator[None]:
    """Takes the lease of a key, renews it, and gives it back; BusyError, with `what`, if another process has it.

    wait  waits for its turn instead of the error

    A lease whose owner was killed on this machine is taken over at once, and on another machine after a minute.
    """
    lease = _Lease(store, key, what)
    lease.take(wait)
    ended = Event()
    keeper = Thread(target=_keep, args=(lease, ended), daemon=True, name="kgspark-lease")
    keeper.start()
    _held[store.uri, key] = lease
    try:
        yield
    finally:
        del _held[store.uri, key]
        ended.set()
        keeper.join(_END_SECONDS)
        lease.give_back()


def check_lease(store: Store, key: str) -> None:
    """BusyError if this process has taken the lease, and another one has taken it over since."""
    if (lease := _held.get((store.uri, key))) is not None:
        lease.renew()


class _Lease:
    """A lease that this process has or wants. Its object names the process; the number of renewals changes its ETag."""

    def __init__(self, store: Store, key: str, what: str) -> None:
        self._store, self._key, self._what, self._lock = store, key, what, Lock()
        self._owner = {
            "machine": socket.gethostname(), "processes": _processes(), "pid": os.getpid(), "id": uuid.uuid4().hex,
        }  # fmt: skip
        self._renewals, self._etag, self._answers = 0, "", True

    def take(self, wait: bool) -> None:
        """Waits until there is no owner, or none that lives; BusyError if it lives, unless `wait`."""
        seen: str | None = None
        patience = 0.0
        while True:
            found = self._store.read(self._key)
            owner, etag = (_parsed(found[0]), found[1]) if found is not None else ({}, None)
            if etag is None or _has_ended(owner) or (etag == seen and time.monotonic() > patience):
                with suppress(LostError):  # another process takes it at the same time
                    self._etag = self._store.put_if(self._key, self._content(), etag)
                    return
            elif etag != seen:
                if seen is not None and not wait:
                    raise BusyError(
                        f"{self._address}: another kgspark process is working on {self._what}, on "
                        f"{owner.get('machine', 'an unknown machine')}; wait for it or stop it"
                    )
                seen, patience = etag, time.monotonic() + _PATIENCE_SECONDS
            time.sleep(_WATCH_SECONDS)

    def renew(self) -> None:
        """Puts the lease again; BusyError if another process has taken it over."""
        with self._lock:
            self._renewals += 1
            try:
                self._answers = False
                self._etag = self._store.put_if(self._key, self._content(), self._etag)
            except LostError:
                found = self._store.read(self._key)
                if found is None or not self._is_own(found[0]):
                    raise BusyError(
                        f"{self._address}: this process stood still, or the store did not answer, and another one has "
                        f"taken over {self._what}; it changes nothing any more; run the command again"
                    ) from None
                self._etag = found[1]  # of a put whose answer was lost
            self._answers = True

    def give_back(self) -> None:
        """Removes the lease if it is still this process's; otherwise, and without an answer, nothing happens."""
        with suppress(StageError):  # then others wait for a minute
            found = self._store.read(self._key) if self._answers else None
            if found is not None and self._is_own(found[0]):
                self._store.remove([self._key])

    @property
    def _address(self) -> str:
        return f"{self._store.uri}/{self._key}"

    def _content(self) -> bytes:
        return json.dumps(self._owner | {"renewals": self._renewals}).encode()

    def _is_own(self, content: bytes) -> bool:
        return _parsed(content).get("id") == self._owner["id"]


# The leases that this process has taken, by URI and key.
_held: dict[tuple[str, str], _Lease] = {}


def _keep(lease: _Lease, ended: Event) -> None:
    while not ended.wait(_RENEW_SECONDS):
        try:
            lease.renew()
        except BusyError:
            return  # `check_lease` finds out, too
        except StageError:
            continue  # the store does not answer now; the next try may come in time


def _has_ended(owner: dict[str, Any]) -> bool:
    """True if the owner was a process of this machine and container that is no more."""
    try:
        if not owner.get("processes") or owner["processes"] != _processes():
            return False
        return bool(psutil.Process(owner["pid"]).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError):
        return False


def _processes() -> str:
    """Where a process has its number: this start of the machine, and this container; empty if the system cannot tell.

    The machine's name would not do: containers on one machine may have the same name, and each counts processes anew.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _parsed(content: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        value = json.loads(content)
        if isinstance(value, dict):
            return value
    return {}
