import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kgspark
from kgspark import runs
from kgspark.errors import BusyError, StageError
from kgspark.files import TableFiles, describe_folder
from kgspark.locks import held_locks
from kgspark.manifests import MANIFEST, Manifest
from kgspark.runs import Run, StageWork

DATE = "2026-02-03"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "lake", DATE)


def _plan(run: Run, source: str = "a", **settings: Any) -> StageWork:
    return StageWork.plan(run, "clean", writes=("ratings", "movies"), settings=settings, sources={"file": source})


def _do(work: StageWork, text: str = "data") -> StageWork:
    folders = work.begin()
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "part-0").write_text(f"{name}: {text}")
    work.commit(
        {name: TableFiles(describe_folder(folder)) for name, folder in folders.items()}, {"ratings": {"lines": 3}}
    )
    return work


def test_a_stage_is_current_after_its_commit_and_the_manifest_tells_of_it(run: Run) -> None:
    work = _plan(run, k=1)
    assert not work.is_current()
    _do(work)
    assert _plan(run, k=1).is_current()
    manifest = run.manifest("ratings")
    assert (manifest.table, manifest.stage, manifest.details) == ("ratings", "clean", {"lines": 3})
    assert (manifest.inputs, manifest.sources) == ({}, {"file": "a"})
    assert manifest.settings == {"k": 1}
    assert manifest.versions["kgspark"] == kgspark.__version__
    assert [file.name for file in manifest.files] == ["part-0"]
    assert json.loads((run.table("ratings") / MANIFEST).read_text())["rows"] == manifest.rows == 0
    assert sorted(path.name for path in run.folder.iterdir()) == [".staging", "movies", "ratings"]
    assert list((run.folder / ".staging").iterdir()) == []


def test_any_change_of_what_the_output_depends_on_makes_it_stale(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _do(_plan(run, k=1, relations={"liked": 1, "has_genre": 2}))
    current = {"k": 1, "relations": {"liked": 1, "has_genre": 2}}
    assert _plan(run, **current).is_current()
    assert not _plan(run, "b", **current).is_current()
    assert not _plan(run, **(current | {"k": 2})).is_current()
    assert not _plan(run, **(current | {"k": "1"})).is_current()
    assert not _plan(run, **(current | {"new": None})).is_current()
    # The order of relations decides the order of kinds and relation indices.
    assert not _plan(run, k=1, relations={"has_genre": 2, "liked": 1}).is_current()
    assert not replace(_plan(run, **current), stage="other").is_current()
    assert not replace(_plan(run, **current), outputs=("ratings", "movies", "users")).is_current()
    monkeypatch.setattr(kgspark, "__version__", "999")
    assert not _plan(run, **current).is_current()


DAMAGES = {
    "flipped": r"movies/part-0: the content changed after it was written",
    "longer": r"movies/part-0: 13 bytes, 12 when it was written",
    "shorter": r"movies/part-0: 0 bytes, 12 when it was written",
    "missing": r"movies/part-0: the file is missing",
    "extra": r"movies/part-1: this is no file of the table",
    "renamed": r"movies/part-0: the file is missing",
    "a folder": r"movies/part-0: [0-9,]+ bytes, 12 when it was written",
    "another folder": r"movies/more: this is no file of the table",
}


def _damage(file: Path, damage: str) -> None:
    if damage == "flipped":
        content = bytearray(file.read_bytes())
        content[3] ^= 1
        file.write_bytes(content)
    elif damage == "extra":
        shutil.copyfile(file, file.with_name("part-1"))
    elif damage == "renamed":
        file.rename(file.with_name("part-1"))
    elif damage == "another folder":
        (file.parent / "more").mkdir()
    elif damage == "a folder":
        file.unlink()
        file.mkdir()
    elif damage == "longer":
        file.write_text(file.read_text() + "x")
    elif damage == "shorter":
        file.write_text("")
    else:
        file.unlink()


@pytest.mark.parametrize(("damage", "problem"), DAMAGES.items())
def test_damage_makes_a_table_stale_and_is_refused_by_the_stage_that_reads_it(
    run: Run, damage: str, problem: str
) -> None:
    work = _do(_plan(run))
    below = StageWork.plan(run, "index", reads=("ratings", "movies"), writes=("entities",), settings={})
    below.check_inputs()
    _damage(run.table("movies") / "part-0", damage)
    assert not work.is_current()
    with pytest.raises(StageError, match=problem + "; run clean again"):
        below.check_inputs()
    assert _do(_plan(run)).is_current()
    below.check_inputs()


def test_the_fast_check_compares_sizes_and_rows_and_the_content_of_what_is_read_whole(tmp_path: Path) -> None:
    run = Run(tmp_path, DATE, verify="fast")
    work = StageWork.plan(run, "train", writes=("ratings", "triples"), settings={})
    folders = work.begin()
    for folder in folders.values():
        folder.mkdir()
        pq.write_table(pa.table({"x": range(1000)}), folder / "part-0.parquet")
    work.commit({name: TableFiles(describe_folder(folder)) for name, folder in folders.items()}, {})
    for name in folders:
        content = bytearray((run.table(name) / "part-0.parquet").read_bytes())
        content[100] ^= 1
        (run.table(name) / "part-0.parquet").write_bytes(content)
    run.check_files(["ratings"])
    with pytest.raises(StageError, match=r"triples/part-0\.parquet: the content changed"):
        run.check_files(["triples"])
    with pytest.raises(StageError, match=r"; name another night$"):
        run.check_files(["triples"], "name another night")
    whole = run.table("ratings") / "part-0.parquet"
    size = whole.stat().st_size
    pq.write_table(pa.table({"x": range(10)}), whole)
    with open(whole, "r+b") as stream:  # a valid Parquet file of the same size with fewer rows
        content = stream.read()
        stream.seek(0)
        stream.write(content[:4] + bytes(size - len(content)) + content[4:])
    with pytest.raises(StageError, match=r"ratings/part-0\.parquet: 10 rows, 1000 when it was written; run train"):
        run.check_files(["ratings"])


@pytest.mark.parametrize("missing", ["folder", "manifest"])
def test_a_table_without_folder_or_manifest_is_stale(run: Run, missing: str) -> None:
    work = _do(_plan(run))
    if missing == "folder":
        run.table("movies").rename(run.folder / "elsewhere")
    else:
        (run.table("movies") / MANIFEST).unlink()
    assert not work.is_current()


def test_a_new_upstream_table_makes_the_stage_below_stale(run: Run) -> None:
    def below() -> StageWork:
        return StageWork.plan(run, "index", reads=("ratings", "movies"), writes=("entities",), settings={})

    with pytest.raises(StageError, match="no complete table here; run clean-ratings first"):
        below()
    _do(_plan(run))
    _do(below())
    assert below().is_current()
    _do(_plan(run, "b"))
    assert not below().is_current()
    _do(_plan(run))
    assert below().is_current()


@pytest.mark.parametrize(
    "text", ["", "{", '{"table": "rat', "null", "[]", "[1]", "3", '"text"', "{}", '{"rows": 1, "files": [1]}', "\x00"]
)
def test_a_manifest_that_is_half_there_is_none(run: Run, text: str) -> None:
    work = _do(_plan(run))
    (run.table("ratings") / MANIFEST).write_text(text)
    assert Manifest.read(run.table("ratings")) is None
    assert not work.is_current()
    with pytest.raises(StageError, match="no complete table here"):
        run.manifest("ratings")


def test_every_cut_of_a_manifest_is_none(run: Run) -> None:
    _do(_plan(run))
    path = run.table("ratings") / MANIFEST
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        assert Manifest.read(path.parent) is None, length


def test_every_changed_byte_of_a_manifest_is_noticed(run: Run) -> None:
    _do(_plan(run))
    path = run.table("ratings") / MANIFEST
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert Manifest.read(path.parent) is None, position


def test_a_crash_between_the_moves_of_two_tables_is_seen_and_repaired(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _do(_plan(run, "old"), "old")
    moves = []

    def crash(new: Path, target: Path) -> None:
        if moves:
            raise KeyboardInterrupt
        moves.append(target.name)
        replace_folder(new, target)

    replace_folder = runs.replace_folder
    monkeypatch.setattr(runs, "replace_folder", crash)
    with pytest.raises(KeyboardInterrupt):
        _do(_plan(run, "new"), "new")
    monkeypatch.undo()

    assert moves == ["ratings"]
    assert (run.table("ratings") / "part-0").read_text() == "ratings: new"
    assert (run.table("movies") / "part-0").read_text() == "movies: old"
    assert not _plan(run, "new").is_current()
    assert not _plan(run, "old").is_current()
    with pytest.raises(StageError, match="ratings and movies are of different runs of clean; run that stage again"):
        StageWork.plan(run, "index", reads=("ratings", "movies"), writes=("entities",), settings={})
    assert _do(_plan(run, "new"), "new").is_current()
    assert (run.table("movies") / "part-0").read_text() == "movies: new"


def test_the_staging_of_a_failed_attempt_is_cleared_and_the_old_table_stays(run: Run) -> None:
    _do(_plan(run, "old"), "old")
    failed = _plan(run, "new")
    folder = failed.begin()["ratings"]
    folder.mkdir()
    (folder / "half").write_text("half")
    assert _plan(run, "old").is_current()
    again = _plan(run, "new")
    assert not again.begin()["ratings"].exists()
    assert (run.table("ratings") / "part-0").read_text() == "ratings: old"


def test_settings_that_json_does_not_know_are_kept_as_text(run: Run) -> None:
    work = _do(_plan(run, path=Path("x"), ks=(1, 2)))
    assert _plan(run, path=Path("x"), ks=(1, 2)).is_current()
    assert work.settings == {"path": "x", "ks": [1, 2]}


_HOLDER = """
import sys
from pathlib import Path
from kgspark.runs import Run

with Run(Path(sys.argv[1]), sys.argv[2]).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def _hold(run: Run) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(kgspark.__file__).parents[1])}
    command = [sys.executable, "-c", _HOLDER, str(run.lake), run.date]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout.readline() == "locked\n"
    return holder


def test_a_night_is_locked_for_other_processes_until_its_own_ends_or_dies(run: Run) -> None:
    holder = _hold(run)
    with pytest.raises(BusyError, match="another kgspark process is working on this night"), run.locked():
        pass
    with Run(run.lake, "2026-02-04").locked():
        pass  # another night is free
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run.locked():
        pass
    with run.locked():
        pass
    holder.stdin.close()
    holder.stdout.close()


_KILLED = """
import os, subprocess, sys
from pathlib import Path
from kgspark.locks import held_locks
from kgspark.runs import Run

with Run(Path(sys.argv[1]), sys.argv[2]).locked():
    subprocess.Popen(["sleep", "2"], pass_fds=held_locks(), stdout=subprocess.DEVNULL)
    os.kill(os.getpid(), 9)
"""


def test_a_night_waits_for_the_children_of_a_killed_process(run: Run) -> None:
    killed = subprocess.Popen([sys.executable, "-c", _KILLED, str(run.lake), run.date])
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    started = time.monotonic()
    with run.locked():
        assert time.monotonic() - started > 1
    killed.wait()


def test_a_child_that_inherited_the_lock_does_not_keep_it_after_the_night(run: Run) -> None:
    with run.locked():
        child = subprocess.Popen(["sleep", "60"], pass_fds=held_locks())
    with run.locked():
        pass
    child.kill()
    child.wait()


@pytest.mark.parametrize("obstacle", ["lock", "link", "lake"])
def test_a_lock_that_cannot_be_taken_is_one_line(run: Run, obstacle: str) -> None:
    if obstacle == "lake":
        run.lake.write_text("a file")
    else:
        run.folder.mkdir(parents=True)
        lock = run.folder / ".lock"
        lock.mkdir() if obstacle == "lock" else lock.symlink_to(run.lake / "elsewhere")
    says = r"this night cannot be locked: .*; remove what is in the way, or set lake"
    with pytest.raises(StageError, match=says), run.locked():
        pass
    assert not (run.lake / "elsewhere").exists()
