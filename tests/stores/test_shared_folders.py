"""Folders that tasks on other machines read and write: on a disk, and in an object store."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kgspark.errors import StageError
from kgspark.stores.shared_folders import PARTIAL, readable, writing
from kgspark.stores.store import Store
from s3_server import S3

_READ = "import sys; from kgspark.stores.shared_folders import readable; print(readable(sys.argv[1]))"


@pytest.fixture
def uri(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix with two files; this process is a machine of its own, with an empty temporary folder."""
    s3.use(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "machine"))
    (tmp_path / "machine").mkdir()
    place = s3.new_uri()
    Store(place).put("vectors.npy", b"one")
    Store(place).put("pools/0/offered.npy", b"two")
    return place


def content(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_folder_on_a_disk_is_read_where_it_is(tmp_path: Path) -> None:
    assert readable(str(tmp_path)) == tmp_path


def test_a_prefix_is_fetched_once_per_machine(uri: str) -> None:
    folder = readable(uri)
    assert content(folder) == {"vectors.npy": b"one", "pools/0/offered.npy": b"two"}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    other = subprocess.run(
        [sys.executable, "-c", _READ, uri],
        env=os.environ | {"TMPDIR": tempfile.gettempdir()}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(other.stdout.strip()) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")} == before


def test_what_changed_is_fetched_again(uri: str) -> None:
    first = readable(uri)
    Store(uri).put("vectors.npy", b"new")
    second = readable(uri)
    assert second != first
    assert content(second)["vectors.npy"] == b"new"
    assert content(first)["vectors.npy"] == b"one"  # another task may be reading it


def test_a_fetch_that_was_killed_begins_again(uri: str) -> None:
    folder = readable(uri)
    (folder / ".complete").unlink()  # the last file that a fetch makes
    (folder / "vectors.npy").write_bytes(b"o")
    readable.__globals__["_fetched_once"].cache_clear()
    assert content(readable(uri))["vectors.npy"] == b"one"


def test_a_prefix_without_files_is_an_error(uri: str) -> None:
    with pytest.raises(StageError, match="no files are here"):
        readable(f"{uri}/nothing")


def half_a_file(place: str) -> None:
    with writing(place, "part-00001.parquet") as path:
        path.write_bytes(b"half")
        raise KeyError


@pytest.mark.parametrize("in_store", [False, True])
def test_a_file_appears_when_it_is_complete(uri: str, tmp_path: Path, in_store: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    place = f"{uri}/out" if in_store else str(out)

    def names() -> list[str]:
        found = [each.key for each in Store(place).objects()] if in_store else [file.name for file in out.iterdir()]
        return [name for name in found if not name.startswith(PARTIAL)]

    with writing(place, "part-00000.parquet") as path:
        assert path.suffix == ".parquet"  # the rows of such a file are counted
        path.write_bytes(b"rows")
        assert names() == []
    with pytest.raises(KeyError):
        half_a_file(place)
    assert names() == ["part-00000.parquet"]
