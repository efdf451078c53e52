import hashlib
import os
import shutil
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark import files
from kgspark.files import (
    copy_file,
    describe_file,
    describe_folder,
    has_size,
    replace_folder,
    source_signature,
    swap_folders,
    write_atomically,
)

FILES_A_FOLDER = 5


def _folder(path: Path, version: str) -> Path:
    path.mkdir(parents=True)
    for number in range(FILES_A_FOLDER):
        (path / f"part-{number}").write_text(version)
    return path


def test_replace_folder_with_and_without_a_target(tmp_path: Path) -> None:
    target = tmp_path / "warehouse" / "table"
    replace_folder(_folder(tmp_path / "new", "one"), target)
    assert (target / "part-0").read_text() == "one"
    replace_folder(_folder(tmp_path / "new", "two"), target)
    assert (target / "part-0").read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["warehouse"]
    assert [path.name for path in target.parent.iterdir()] == ["table"]


@pytest.fixture(params=["exchanged", "renamed"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to exchange two folders, as the kernel does it and by three renames."""
    if request.param == "renamed":
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("exchange")
def test_swap_folders_and_its_reverse(tmp_path: Path) -> None:
    target, new = _folder(tmp_path / "table", "one"), _folder(tmp_path / "staging" / "new", "two")
    for first, second in ((new, target), (target, new)):
        swap_folders(first, second)
        texts = [(folder / "part-0").read_text() for folder in (target, new)]
        assert texts == (["two", "one"] if first is new else ["one", "two"])
        assert [path.name for path in new.parent.iterdir()] == ["new"]
    shutil.rmtree(target)
    swap_folders(new, target)
    assert (target / "part-0").read_text() == "two"
    assert not new.exists()
    swap_folders(target, new)
    assert (new / "part-0").read_text() == "two"
    assert not target.exists()


def test_a_swap_by_renames_that_fails_leaves_both_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    target = _folder(tmp_path / "table", "one")
    _folder(tmp_path / "new.aside", "left by a crash")
    with pytest.raises(FileNotFoundError):
        swap_folders(tmp_path / "new", target)
    assert (target / "part-0").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_copy_has_the_content_and_is_independent(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(100_000))
    copy_file(source, copy)
    whole = source.read_bytes()
    assert copy.read_bytes() == whole
    with open(source, "r+b") as stream:
        stream.write(b"damage")
    assert copy.read_bytes() == whole
    with pytest.raises(FileExistsError):
        copy_file(source, copy)


def test_a_reader_never_meets_a_missing_a_partial_or_a_mixed_folder(tmp_path: Path) -> None:
    target = _folder(tmp_path / "table", "0")
    stop, problems, seen = threading.Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            try:
                # An opened folder does not change, so all its files are of one version.
                folder = os.open(target, os.O_DIRECTORY)
            except FileNotFoundError:
                problems.append("missing")
                continue
            try:
                names = os.listdir(folder)
                versions = set()
                for name in names:
                    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
                    versions.add(os.read(descriptor, 100))
                    os.close(descriptor)
            except FileNotFoundError:
                continue  # The old folder was deleted while it was open; the next read finds the new one.
            finally:
                os.close(folder)
            if len(versions) > 1:
                problems.append(f"mixed: {versions}")
            seen.update(versions)

    def look() -> None:
        while not stop.is_set():
            if not target.is_dir():
                problems.append("not there")

    readers = [threading.Thread(target=read), threading.Thread(target=look)]
    for reader in readers:
        reader.start()
    for version in range(1, 150):
        replace_folder(_folder(tmp_path / "new", str(version)), target)
    stop.set()
    for reader in readers:
        reader.join()
    assert not problems
    assert len(seen) > 1, "the reader saw no replacement, so nothing was tested"


def test_write_atomically_leaves_the_old_text_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.json"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "new, and longer")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_atomically(path, "Žluťoučký")
    assert path.read_text(encoding="utf-8") == "Žluťoučký"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note.json"]


def test_describe_file_counts_rows_of_parquet_only(tmp_path: Path) -> None:
    text, table = tmp_path / "b.json", tmp_path / "a.parquet"
    text.write_bytes(b"{}")
    pq.write_table(pa.table({"x": range(7)}), table)
    (tmp_path / "_manifest.json").write_text("{}")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "folder").mkdir()
    assert describe_file(text) == files.DataFile("b.json", 2, hashlib.sha256(b"{}").hexdigest(), None)
    assert describe_file(table).rows == 7
    assert [file.name for file in describe_folder(tmp_path)] == ["a.parquet", "b.json"]


def test_has_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not has_size(path, 0)
    path.write_bytes(b"123")
    assert has_size(path, 3)
    assert not has_size(path, 2)


def test_source_signature_changes_with_what_it_signs(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "source", "one")
    one = source_signature([folder])
    assert source_signature([folder]) == one
    assert source_signature([folder / "part-0"]) != one

    stamp = (folder / "part-0").stat()
    (folder / "part-0").write_text("two")  # as long as before
    os.utime(folder / "part-0", ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    touched = source_signature([folder])
    (folder / "part-9").write_text("")
    grown = source_signature([folder])
    (folder / "part-9").rename(folder / "part-8")
    renamed = source_signature([folder])
    shutil.rmtree(folder)
    assert len({one, touched, grown, renamed, source_signature([folder])}) == 5
