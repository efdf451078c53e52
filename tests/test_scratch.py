"""Scratch folders: they live as long as an owner, and are removed after it; others' folders stay."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kgspark.errors import StageError
from kgspark.scratch import Scratch, temporary_root
from processes import left_after

_OWNER = """
import subprocess, sys
from pathlib import Path
from kgspark.scratch import Scratch
scratch = Scratch.new(Path(sys.argv[1]))
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[scratch.lock])
print(scratch.folder, child.pid, flush=True)
sys.stdin.read()
"""


def test_a_folder_goes_when_its_last_owner_has_ended(tmp_path: Path) -> None:
    mine = Scratch.new(tmp_path)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(tmp_path)], text=True, **pipes)
    path, child = owner.stdout.readline().split()
    grandchild = psutil.Process(int(child))
    (Path(path) / "deep").mkdir()
    (Path(path) / "deep" / "file").write_text("x")
    owner.kill()
    owner.wait()
    Scratch.new(tmp_path).remove()
    assert Path(path).exists(), "the child is an owner too"
    owner.stdin.close()  # the child reads the same pipe
    owner.stdout.close()
    assert not left_after([grandchild], 20)
    Scratch.new(tmp_path).remove()
    assert not Path(path).exists()
    assert mine.folder.exists()
    mine.remove()
    assert list(mine.folder.parent.iterdir()) == []


def test_only_this_user_may_look_into_it(tmp_path: Path) -> None:
    scratch = Scratch.new(tmp_path / "new")
    assert [path.stat().st_mode & 0o777 for path in (scratch.folder, scratch.folder.parent)] == [0o700, 0o700]
    scratch.remove()


def test_what_others_put_there_is_not_touched(tmp_path: Path) -> None:
    Scratch.new(tmp_path).remove()
    parent = tmp_path / f"kgspark-{os.getuid()}"
    (parent / "file").write_text("of somebody")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (parent / "link").symlink_to(elsewhere)
    Scratch.new(tmp_path).remove()
    assert sorted(path.name for path in parent.iterdir()) == ["file", "link"]
    assert elsewhere.exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match="file/x: no temporary files can be written here: Not a directory; "):
        Scratch.new(tmp_path / "file" / "x")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(StageError, match=r"TMPDIR: .*/missing: no such folder, or it cannot be written; create it"):
        temporary_root()


def test_a_parent_that_is_a_link_of_somebody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"kgspark-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(StageError, match="expected a folder of this user"):
        Scratch.new(tmp_path)
