"""A process that commits tables, or publishes, in a lake on an object store, killed before each change in turn.

    python -m worlds.killed_stored_lake URI FOLDER commit|publish [EVERY]

A change is a put, a copy or a removal in the store, or a move on the local disk. For each one (or every EVERY-th), one
lake: model `one` is there, and the process that brings model `two` is killed. What readers on another
machine find then, and after the same command again, is checked. It prints the changes.

This process itself has one thread and no client of a store, so it may fork; each child makes its own client.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from kgspark.runs import Run, StageWork
from kgspark.tables import AUDIENCES, RECOMMENDATIONS
from kgspark.warehouse import files
from kgspark.warehouse.versions import Version
from worlds.published import only, rank
from worlds.stored_lakes import CHANGES, by_folder, by_pointer, copy_at, expected_keys, keys_of, models_of

DATE = "2026-02-03"
BOTH = (RECOMMENDATIONS, AUDIENCES)
TABLES = {"one": BOTH, "two": BOTH, "three": (RECOMMENDATIONS,)}
# The next publication, in turn: the same tables again, the earlier ones, others without audiences.
NEXT = ("two", "one", "three")


def main(uri: str, folder: Path, what: str, every: str = "1") -> None:
    """Kills at the first change, at the second, and so on, until the work ends before its kill."""
    prepare, work, check = {"commit": (commit_one, commit_two, check_commit), "publish": (publish_one, publish_two,
                            check_publication)}[what]  # fmt: skip
    os.fsync = lambda descriptor: None  # a kill of a process loses nothing that was written
    for number in count(0, int(every)):
        lake_uri, lakes = f"{uri}/{what}-{number}", folder / str(number)
        one, told = Run(lakes / "one", DATE), lakes / "told"
        lakes.mkdir()

        def killed(uri: str = lake_uri, run: Run = one, number: int = number, told: Path = told) -> None:
            copy_at(run.lake, uri)
            prepare(run)
            kill_at(number, os.open(told, os.O_WRONLY | os.O_CREAT))
            work(run)

        end = in_child(killed)
        change = told.read_text() if told.exists() else ""
        assert end == (-signal.SIGKILL if change else 0), (number, end)
        end = in_child(lambda uri=lake_uri, lakes=lakes, number=number: check(uri, lakes, number))
        assert end == 0, f"after {change or 'the end'}, change {number}"
        if not change:
            return
        print(change, flush=True)


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a child process; returns its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(number: int, told: int) -> None:
    """Kills this process before change `number`, from 0, and writes the change to the file `told`."""
    import obstore

    changes, lock = count(), Lock()

    def at(change: str) -> None:
        with lock:
            if next(changes) == number:
                os.write(told, change.encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" or (event, arguments[:1]) == ("ctypes.dlopen", (None,)):  # for renameat2
            at(f"{event} {arguments[0]}")

    def counting(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def called(store: Any, key: Any, *more: Any, **options: Any) -> Any:
            at(f"store.{name} {key}")
            return act(store, key, *more, **options)

        return called

    sys.addaudithook(hook)
    for name in CHANGES:
        setattr(obstore, name, counting(name, getattr(obstore, name)))


def made(run: Run, model: str) -> Run:
    return rank(run, model, TABLES[model], files=1)


def whole(model: str) -> dict[str, list[str]]:
    return only(model, TABLES[model], files=1)


def commit_one(run: Run) -> None:
    made(run, "one")


def commit_two(run: Run) -> None:
    with run.locked():
        made(run, "two")


def check_commit(uri: str, lakes: Path, number: int) -> None:
    """Each table is that of `one` or of `two` on another machine; the next run and the next commit leave no rest."""
    other = Run(copy_at(lakes / "other", uri), DATE)
    for table, rows in models_of(other).items():
        assert rows in (whole("one")[table], whole("two")[table]), (table, rows)
    assert models_of(Run(copy_at(lakes / "one", uri), DATE)) == models_of(other)
    run = Run(copy_at(lakes / ("one" if number % 2 else "other"), uri), DATE)
    with run.locked():
        if not StageWork.plan(run, "recommend", writes=BOTH, settings={"model": "two"}).is_current():
            made(run, "two")
        run.check_files(BOTH)
        assert models_of(run) == whole("two")
        rank(run, "three", BOTH, files=1)
    assert keys_of(uri) == expected_keys(run, BOTH)
    assert not any(run.folder.joinpath(".staging").iterdir())
    last = Run(copy_at(lakes / "last", uri), DATE)
    last.check_files(BOTH)
    assert models_of(last) == only("three", BOTH, files=1)


def publish_one(run: Run) -> None:
    files.publish(made(run, "one"), BOTH)
    made(run, "two")


def publish_two(run: Run) -> None:
    files.publish(run, BOTH)


def check_publication(uri: str, lakes: Path, number: int) -> None:
    """Both pointers lead to one whole version each, and the next publication leaves no rest."""
    model, tables = by_pointer(uri)
    of_date, tables_of_date = by_pointer(uri, f"_dates/{DATE}.json")
    assert tables == whole(model)
    assert tables_of_date == whole(of_date)
    assert model in ("one", of_date), f"{model}, {of_date}: the pointer of the date moves first"
    model = NEXT[number % len(NEXT)]
    run = Run(copy_at(lakes / ("one" if number % 2 else "other"), uri), DATE)
    if model != "two":
        made(run, model)
    if not files.is_there(run, TABLES[model]):
        files.publish(run, TABLES[model])
    assert files.is_there(run, TABLES[model])
    expected = whole(model)
    assert by_folder(uri, DATE) == expected
    assert by_pointer(uri) == by_pointer(uri, f"_dates/{DATE}.json") == (model, expected)
    check_rest(uri, Version.of(run, TABLES[model]))


def check_rest(uri: str, published: Version) -> None:
    """All versions are whole, unless `one` is still published, and so nothing was written after the kill."""
    keys = keys_of(f"{uri}/warehouse")
    assert {key.split("/")[0] for key in keys} <= {"_latest.json", "_dates", "_versions", *BOTH}
    versions = {key.split("/")[1] for key in keys if key.startswith("_versions/")}
    described = {key.split("/")[1] for key in keys if key.endswith("/_version.json")}
    assert published.id in described
    assert versions == described or published.model_id == "one"
    assert not keys_of(uri, "leases") or published.model_id == "one"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
