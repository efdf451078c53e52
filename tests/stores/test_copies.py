"""A lake on an object store: its tables are the same on every machine, whole, and damage or another writer is seen."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from kgspark.errors import BusyError, ConfigError, StageError
from kgspark.files import TableFiles, describe_folder
from kgspark.locks import locked
from kgspark.manifests import MANIFEST
from kgspark.runs import Run, StageWork, run_dates
from kgspark.stores import leases
from kgspark.stores.copies import Copy, usual_folder
from kgspark.stores.store import Store
from kgspark.tables import AUDIENCES, RANKED, RECOMMENDATIONS
from nights import ROOT
from s3_server import S3
from worlds.published import only, rank
from worlds.stored_lakes import copy_at, counted_calls, expected_keys, keys_of, models_of

DATE, LATER = "2026-02-03", "2026-02-04"


@pytest.fixture
def uri(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(logging.getLogger("kgspark"), "handlers", [])  # those of commands, whose streams are closed
    s3.use(monkeypatch)
    return s3.new_uri()


@pytest.fixture
def run(uri: str, tmp_path: Path) -> Run:
    """A night with ranked tables, written on this machine."""
    return rank(Run(copy_at(tmp_path / "one", uri), DATE), "one")


@pytest.fixture
def other(uri: str, run: Run, tmp_path: Path) -> Run:
    """The night on another machine."""
    return Run(copy_at(tmp_path / "other", uri), DATE)


def refreshed(run: Run) -> Run:
    copy_at(run.lake, Copy.of(run.lake).store.uri)
    return run


def contents(run: Run) -> dict[str, bytes]:
    """The files of the ranked tables, with their manifests."""
    return {f"{name}/{path.name}": path.read_bytes() for name in RANKED for path in run.table(name).glob("[!.]*")}


def test_a_table_has_the_same_bytes_on_another_machine(uri: str, run: Run, other: Run) -> None:
    assert contents(other) == contents(run)
    assert len(contents(run)) == 3 * len(RANKED)
    assert keys_of(uri) == expected_keys(run)
    for table in RANKED:
        assert other.find_damage(other.manifest(table)) is None


def test_only_files_that_are_needed_are_fetched_and_once(other: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_calls(monkeypatch, "get", "list") as calls:
        assert not any(path.suffix == ".parquet" for path in other.folder.rglob("*"))
        other.table(RECOMMENDATIONS)
        assert calls == {"get": 2}
        other.table(RECOMMENDATIONS)
        assert calls == {"get": 2}
        assert not any(other.place(AUDIENCES).glob("*.parquet"))


def test_only_changed_manifests_are_read(uri: str, run: Run, other: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(Run(run.lake, LATER), "two")
    rank(run, "three", tables=(AUDIENCES,))
    with counted_calls(monkeypatch, "get") as calls:
        refreshed(other)
        assert calls["get"] == len(RANKED) + 1
        refreshed(other)
        assert calls["get"] == len(RANKED) + 1
    assert models_of(other) == only("one") | only("three", (AUDIENCES,))
    assert models_of(Run(other.lake, LATER)) == only("two")
    assert run_dates(other.lake) == [DATE, LATER]


def test_a_changed_table_is_fetched_again(uri: str, run: Run, other: Run) -> None:
    assert models_of(other) == only("one")
    rank(run, "two")
    assert models_of(refreshed(other)) == only("two")
    assert contents(other) == contents(run)
    assert keys_of(uri) == expected_keys(run)  # nothing of the replaced ones


def test_a_night_that_was_removed_disappears_elsewhere(uri: str, run: Run, other: Run) -> None:
    rank(Run(run.lake, LATER), "two")
    refreshed(other).table(AUDIENCES)
    Copy.of(run.lake).remove_night(DATE)
    assert run_dates(refreshed(other).lake) == [LATER]
    assert [path.name for path in (other.lake / "runs").iterdir()] == [LATER]
    assert keys_of(uri) == expected_keys(Run(other.lake, LATER))


def test_tables_of_a_night_that_is_at_work_here_are_left_alone(run: Run, other: Run) -> None:
    assert models_of(other) == only("one")
    rank(run, "two")
    with locked(other.folder, "this night"):
        assert models_of(refreshed(other)) == only("one")
    assert models_of(refreshed(other)) == only("two")


@pytest.mark.parametrize("damage", ["missing", "shorter", "foreign", "changed", "no manifest", "no folder"])
def test_damage_of_a_copy_is_repaired_from_the_store(run: Run, other: Run, damage: str) -> None:
    before = contents(other)
    path = other.place(AUDIENCES) / "part-00001.parquet"
    if damage in ("missing", "shorter"):
        path.unlink()
        if damage == "shorter":
            path.touch()
    elif damage == "foreign":
        shutil.copyfile(path, path.with_name("part-00002.parquet"))
    elif damage == "changed":
        content = bytearray(path.read_bytes())
        content[50] ^= 1
        path.write_bytes(content)
    elif damage == "no manifest":
        (path.parent / MANIFEST).unlink()
    else:
        shutil.rmtree(other.folder)
    refreshed(other).check_files(RANKED)
    assert contents(other) == before


DAMAGES: dict[str, tuple[Callable[[Store, str], object], str]] = {
    "changed": (lambda store, key: store.put(key, b"other bytes"), "the content changed after it was written"),
    "missing": (lambda store, key: store.remove([key]), "the file is missing"),
    "foreign": (lambda store, key: store.put(f"{key}.more", b"x"), "this is no file of the table"),
    "foreign below": (lambda store, key: store.put(f"{key}/part-0.parquet", b"x"), "this is no file of the table"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_store_is_one_line_with_the_stage_to_run(uri: str, run: Run, other: Run, damage: str) -> None:
    """Although this machine's own files are as they were."""
    act, problem = DAMAGES[damage]
    act(Store(uri), f"{Copy.of(run.lake).key_of(run.place(AUDIENCES))}/part-00001.parquet")
    for night in (run, other):
        with pytest.raises(StageError, match=rf"{uri}/.*/part-00001.*: {problem}; run recommend again") as caught:
            night.check_files(RANKED)
        assert "\n" not in str(caught.value)
    if damage in ("changed", "missing"):
        with pytest.raises(StageError, match=rf"part-00001.parquet: {problem}; .*run recommend again"):
            other.table(AUDIENCES)
        assert not (other.place(AUDIENCES) / "part-00001.parquet").exists()
    work = StageWork.plan(run, "recommend", writes=RANKED, settings={"model": "one"})
    assert not work.is_current()
    rank(run, "one")
    assert work.is_current()
    assert keys_of(uri) == expected_keys(run)


def test_objects_that_are_no_manifests_do_not_matter(uri: str, run: Run, other: Run) -> None:
    for key in ("manifests/notes.txt", "manifests/2026-02-03/a/b.json", "manifests/2026-02-03/more.txt"):
        Store(uri).put(key, b"{}")
    Store(uri).put(f"manifests/{LATER}/ratings.json", b"\xff no manifest")
    assert models_of(refreshed(other)) == only("one")
    assert Run(other.lake, LATER).find_manifest("ratings") is None
    assert sorted(path.name for path in (other.lake / "runs").iterdir()) == [DATE, LATER]
    assert {path.name for path in other.folder.iterdir()} == set(RANKED)


def test_a_file_that_changed_before_it_was_sent_is_not_committed(uri: str, run: Run) -> None:
    work = StageWork.plan(run, "index", writes=("entities",), settings={})
    folder = work.begin()["entities"]
    folder.mkdir()
    (folder / "part-0").write_text("data")
    files = TableFiles(describe_folder(folder))
    (folder / "part-0").write_text("date")
    with pytest.raises(StageError, match="part-0: the file changed after it was written"):
        work.commit({"entities": files}, {})
    assert run.find_manifest("entities") is None
    assert "manifests/2026-02-03/entities.json" not in keys_of(uri)


def test_two_processes_of_a_machine_fetch_a_table_once(other: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_calls(monkeypatch, "get") as calls:
        threads = [Thread(target=other.table, args=[AUDIENCES]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert calls == {"get": 2}
    assert not other.find_damage(other.manifest(AUDIENCES))


def test_a_folder_that_is_something_else_is_refused(uri: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"lake: {run.lake} is a copy of {uri}; the copy of {uri}-2 needs another"):
        Copy.open(run.lake, f"{uri}-2")
    own = tmp_path / "own"
    rank(Run(own, DATE), "one")
    with pytest.raises(ConfigError, match=rf"lake: {own} is a lake of its own; the copy of {uri} needs another folder"):
        Copy.open(own, uri)
    (run.lake / "_store.json").write_text("{")
    with pytest.raises(ConfigError, match=rf"_store.json cannot be read; remove {run.lake}, which is only a copy"):
        Copy.open(run.lake, uri)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StageError, match=r"file/copy: the copy of s3://lake/x cannot be written: Not a directory; set XD"
    ):
        Copy.open(tmp_path / "file" / "copy", "s3://lake/x")


def test_the_usual_folder_is_another_one_for_each_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/kgspark user")
    folders = [usual_folder(uri) for uri in ("s3://a/b-c", "s3://a-b/c", "gs://a/b-c")]
    assert len(set(folders)) == 3
    assert {folder.parent for folder in folders} == {Path("/var/cache/kgspark user/kgspark")}


def test_of_two_machines_the_second_one_at_a_table_loses(uri: str, run: Run, other: Run) -> None:
    rank(run, "two")
    with pytest.raises(BusyError, match=rf"{uri}/manifests/{DATE}/{RANKED[0]}.json: another process has written this "):
        rank(other, "three")
    assert models_of(refreshed(other)) == models_of(run) == only("two")
    rank(other, "three")
    assert models_of(refreshed(run)) == only("three")
    assert keys_of(uri) == expected_keys(other)


class Writer:
    """A process with a copy of its own that commits the ranked tables of its model."""

    def __init__(self, folder: Path, uri: str, model: str, *lock: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worlds.stored_lakes", uri, str(folder / model), DATE, model, *lock],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def test_of_two_processes_at_one_table_one_wins(uri: str, run: Run, other: Run, tmp_path: Path) -> None:
    """Without the lease: then the condition of the put alone decides."""
    writers = {model: Writer(tmp_path, uri, model) for model in ("two", "three")}
    for act in (Writer.ready, Writer.begin):
        for writer in writers.values():
            act(writer)
    ends = {model: writer.end() for model, writer in writers.items()}
    assert sorted(code for code, _ in ends.values()) == [0, 75], ends
    [winner] = [model for model, (code, _) in ends.items() if code == 0]
    assert "another process has written this table meanwhile; nothing was changed; run the command again" in "".join(
        errors for _, errors in ends.values()
    )
    assert models_of(refreshed(other)) == only(winner)
    other.check_files(RANKED)


def test_a_night_is_one_processes_on_whatever_machine(
    uri: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stands still for a minute is followed by another one, and then changes nothing any more."""
    writer = Writer(tmp_path, uri, "two", "lock")
    writer.ready()
    try:
        monkeypatch.setattr(leases, "_WATCH_SECONDS", 0.05)
        with pytest.raises(BusyError, match="another kgspark process is working on this night, on "):
            renewing(uri, lambda: leases._Lease(Store(uri), f"leases/{DATE}.json", "this night").take(wait=False))
        writer.process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(leases, "_PATIENCE_SECONDS", 0.2)
        with run.locked():
            writer.process.send_signal(signal.SIGCONT)
            writer.begin()
            code, errors = writer.end()
            assert code == 75
            assert "this process stood still, or the store did not answer, and another one has taken over" in errors
            assert models_of(run) == only("one")
            rank(run, "three")
        assert models_of(run) == only("three")
        assert keys_of(uri) == expected_keys(run)
    finally:
        writer.process.kill()
        writer.process.communicate()


def renewing(uri: str, act: Callable[[], None]) -> None:
    """Renews the lease of another process in its place, which would take a quarter of a minute."""
    take = leases.time.sleep
    key, store = f"leases/{DATE}.json", Store(uri)

    def renew(seconds: float) -> None:
        store.put(key, store.read(key)[0].replace(b'"renewals": 0', b'"renewals": 1'))
        take(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases.time, "sleep", renew)
        act()


def test_a_process_that_wakes_up_after_its_commit_removes_nothing_of_another(
    uri: str, run: Run, other: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still between its put and its removal of what was replaced, while another one commits."""
    put_if = Store.put_if

    def then_another(store: Store, key: str, content: bytes, expected: str | None) -> str:
        etag = put_if(store, key, content, expected)
        if key.endswith(f"{AUDIENCES}.json"):
            monkeypatch.setattr(Store, "put_if", put_if)
            rank(refreshed(other), "three", tables=(AUDIENCES,))
        return etag

    monkeypatch.setattr(Store, "put_if", then_another)
    rank(run, "two", tables=(AUDIENCES,))
    refreshed(run).check_files([AUDIENCES])
    assert models_of(run) == only("one") | only("three", (AUDIENCES,))


def test_a_commit_that_was_killed_before_its_move_is_complete_everywhere(
    run: Run, other: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is in the store, and the copy has the folder of before."""
    with monkeypatch.context() as patch:
        patch.setattr("kgspark.stores.copies.replace_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            rank(run, "two", tables=(AUDIENCES,))
    assert models_of(refreshed(run)) == models_of(refreshed(other)) == only("one") | only("two", (AUDIENCES,))


def killed(*given: object) -> None:
    raise KeyboardInterrupt
