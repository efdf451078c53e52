"""Leases in an object store, which has no locks: one process works on a night, whatever machine it runs on.

A lease is an object that its owner puts again every few seconds. Only one of several writers can put it, because each
put is bound to the state that the writer has seen. Nobody compares clocks: whoever wants a lease that another one has
watches the object, and takes it over if it has not changed for a minute.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil

from kgspark.errors import BusyError, StageError
from kgspark.stores import LostError, Store

_RENEW_SECONDS = 15
# An owner that has not renewed its lease for so long has ended, or cannot reach the store.
_PATIENCE_SECONDS = 60
_WATCH_SECONDS = 2


@contextmanager
def leased(store: Store, key: str, what: str, wait: bool = False) -> Iterator[None]:
    """Takes the lease of a key, renews it, and gives it back; BusyError, with `what`, if another process has it.

    wait  waits for its turn instead of the error

    A lease whose owner was killed on this machine is taken over at once, and on another machine after a minute.
    """
    content = _content()
    etag = _take(store, key, what, content, wait)
    ended = Event()
    keeper = Thread(target=_keep, args=(store, key, content, etag, ended), daemon=True, name="kgspark-lease")
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        _give_back(store, key, content)


def is_leased(store: Store, key: str) -> bool:
    """True if a process has the lease, or had it and was killed."""
    return store.find(key) is not None


def _content() -> dict[str, object]:
    """What identifies this process and this lease."""
    return {"machine": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex, "renewed": 0}


def _take(store: Store, key: str, what: str, content: dict[str, object], wait: bool) -> str:
    seen: str | None = None
    patience = 0.0
    while True:
        found = store.read(key)
        owner, etag = found if found is not None else (b"", None)
        if etag is None or _has_ended(owner) or (etag == seen and time.monotonic() > patience):
            with suppress(LostError):  # another process takes it at the same time
                return store.put_if(key, _bytes(content), etag)
        elif etag == seen:
            pass
        elif seen is None or wait:
            seen, patience = etag, time.monotonic() + _PATIENCE_SECONDS
        else:
            raise BusyError(
                f"{store.uri}/{key}: another kgspark process is working on {what}, on {_machine(owner)}; wait for it "
                "or stop it"
            )
        time.sleep(_WATCH_SECONDS)


def _keep(store: Store, key: str, content: dict[str, object], etag: str, ended: Event) -> None:
    number = 0
    while not ended.wait(_RENEW_SECONDS):
        number += 1
        content["renewed"] = number
        try:
            etag = store.put_if(key, _bytes(content), etag)
        except LostError:
            return  # taken over: whatever this process still commits is refused by its own condition
        except StageError:
            continue  # the store does not answer now; the next try may come in time


def _give_back(store: Store, key: str, content: dict[str, object]) -> None:
    with suppress(StageError):  # then others wait for a minute
        found = store.read(key)
        if found is not None and json.loads(found[0])["id"] == content["id"]:
            store.remove([key])


def _has_ended(owner: bytes) -> bool:
    """True if the owner was a process of this machine that is no more."""
    try:
        value = json.loads(owner)
        if value["machine"] != socket.gethostname():
            return False
        return bool(psutil.Process(value["pid"]).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError):
        return False


def _machine(owner: bytes) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(owner)["machine"])
    return "an unknown machine"


def _bytes(content: dict[str, object]) -> bytes:
    return json.dumps(content).encode()
