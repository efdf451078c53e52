"""Leases: one owner at a time, who is known to have ended, or is given a minute, and finds out if he was given up."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from threading import Event, Thread

import pytest

from kgspark.errors import BusyError, StageError
from kgspark.stores import leases
from kgspark.stores.leases import check_lease, leased
from kgspark.stores.store import Store
from s3_server import S3

KEY = "leases/2026-02-03.json"


@dataclass
class Clock:
    """In place of the module `time`: nobody waits, and all waiting is counted."""

    seconds: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(leases, "time", found)
    return found


@pytest.fixture
def store(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Store:
    s3.use(monkeypatch)
    return Store(s3.new_uri())


def owner_of(store: Store) -> dict[str, object]:
    return json.loads(store.read(KEY)[0])


def left_by(store: Store, **changes: object) -> None:
    """The lease of a process that is not this one."""
    owner = {"machine": "elsewhere", "processes": "another start", "pid": 1, "id": "x", "renewals": 3}
    store.put(KEY, json.dumps(owner | changes).encode())


def test_a_lease_is_there_while_it_is_held(store: Store) -> None:
    check_lease(store, KEY)
    with leased(store, KEY, "this night"):
        check_lease(store, KEY)
        assert owner_of(store)["renewals"] == 1
    assert store.read(KEY) is None
    with pytest.raises(ZeroDivisionError), leased(store, KEY, "this night"):
        raise ZeroDivisionError
    assert store.read(KEY) is None


def test_a_lease_is_renewed_and_so_others_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.02)
    monkeypatch.setattr(leases, "_WATCH_SECONDS", 0.1)
    with leased(store, KEY, "this night"):
        with pytest.raises(
            BusyError, match=f"{KEY}: another kgspark process is working on this night, on .*; wait for"
        ):
            leases._Lease(store, KEY, "this night").take(wait=False)
        assert int(owner_of(store)["renewals"]) > 1


def test_an_owner_that_was_killed_on_this_machine_is_followed_at_once(store: Store, clock: Clock) -> None:
    program = (
        "import os, signal, sys; from kgspark.stores.leases import leased; from kgspark.stores.store import Store\n"
        "with leased(Store(sys.argv[1]), sys.argv[2], 'this night'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, store.uri, KEY], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    killed = owner_of(store)
    with leased(store, KEY, "this night"):
        assert owner_of(store)["id"] != killed["id"]
    assert clock.slept == []


@pytest.mark.parametrize("kind", ["another machine", "another container of this machine", "not readable"])
def test_an_owner_elsewhere_is_followed_after_a_minute(store: Store, clock: Clock, kind: str) -> None:
    """Also if the number of its process is not in use here."""
    here = leases._Lease(store, KEY, "")._owner
    left_by(store, pid=2**22 + 1, **({"machine": here["machine"]} if "container" in kind else {}))
    if kind == "not readable":
        store.put(KEY, b"\xff[")
    with leased(store, KEY, "this night"):
        assert owner_of(store)["id"] != "x"
    assert 60 < sum(clock.slept) < 70


def test_the_patience_begins_anew_with_each_renewal(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by(store)
    sleep = clock.sleep

    def renewed(seconds: float) -> None:
        sleep(seconds)
        if len(clock.slept) in (20, 40):
            left_by(store, renewals=len(clock.slept))

    monkeypatch.setattr(clock, "sleep", renewed)
    with leased(store, KEY, "the warehouse", wait=True):
        pass
    assert sum(clock.slept) > 40 * 2 + 60


def test_whoever_waits_gets_its_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_WATCH_SECONDS", 0.02)
    turns, begun = [], Event()

    def second() -> None:
        begun.set()
        with leased(store, KEY, "the warehouse", wait=True):
            turns.append("second")

    with leased(store, KEY, "the warehouse"):
        waiting = Thread(target=second)
        waiting.start()
        begun.wait(10)
        waiting.join(0.2)
        turns.append("first")
    waiting.join(60)
    assert turns == ["first", "second"]


def test_an_owner_that_was_given_up_finds_out_and_leaves_the_lease_to_the_other(store: Store) -> None:
    with leased(store, KEY, "this night"):
        left_by(store)
        with pytest.raises(BusyError, match="another one has taken over this night; it changes nothing any more; run"):
            check_lease(store, KEY)
    assert owner_of(store)["id"] == "x"
    store.remove([KEY])
    with leased(store, KEY, "this night"):
        left_by(store)
    assert owner_of(store)["id"] == "x"
    with leased(store.below("other"), KEY, "this night"):
        store.remove([f"other/{KEY}"])
        with pytest.raises(BusyError, match="has taken over this night"):
            check_lease(store.below("other"), KEY)


def test_a_renewal_whose_answer_was_lost_is_the_owners(store: Store) -> None:
    with leased(store, KEY, "this night"):
        store.put(KEY, json.dumps(owner_of(store) | {"renewals": 99}).encode())
        check_lease(store, KEY)
        check_lease(store, KEY)
        assert owner_of(store)["renewals"] == 2


def test_a_store_that_answers_no_more_is_not_asked_to_take_the_lease_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question would take a minute."""

    def silent(*given: object) -> str:
        raise StageError("the store does not answer")

    reads = []
    with leased(store, KEY, "this night"):
        monkeypatch.setattr(Store, "put_if", silent)
        with pytest.raises(StageError, match="does not answer"):
            check_lease(store, KEY)
        monkeypatch.setattr(Store, "read", lambda *given: reads.append(given))
    assert reads == []
