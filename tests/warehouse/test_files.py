"""The target `files`: all tables of a night or none, and never a file that was not audited."""

import hashlib
from pathlib import Path

import pytest

from kgspark.errors import AuditError
from kgspark.files import describe_folder
from kgspark.runs import Run, StageWork
from kgspark.warehouse import files

TABLES = ("recommendations", "audiences")


def ranked(run: Run, text: str) -> Run:
    """Tables of two files each, committed in the way of a stage."""
    work = StageWork.plan(run, "recommend", writes=TABLES, settings={"text": text})
    folders = work.begin()
    for name, folder in folders.items():
        folder.mkdir()
        for number in range(2):
            (folder / f"part-{number}").write_text(f"{name} {number}: {text}")
    work.commit({name: describe_folder(folder) for name, folder in folders.items()}, {})
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ranked(Run(tmp_path / "lake", "2026-02-03"), "one")


def published(run: Run) -> dict[str, str]:
    """SHA-256 of all files in the warehouse, by path."""
    warehouse = run.lake / "warehouse"
    return {
        str(path.relative_to(warehouse)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(warehouse.rglob("*"))
        if path.is_file()
    }


def test_the_warehouse_has_the_published_files_and_no_others(run: Run) -> None:
    files.publish(run, TABLES)
    expected = {
        f"{table}/ds=2026-02-03/{file.name}": file.sha256 for table in TABLES for file in run.manifest(table).files
    }
    assert published(run) == expected
    assert files.place(run, "audiences") == str(run.lake / "warehouse" / "audiences" / "ds=2026-02-03")


def test_a_second_publication_replaces_the_date_and_leaves_other_dates(run: Run) -> None:
    files.publish(run, TABLES)
    first = published(run)
    files.publish(ranked(Run(run.lake, "2026-02-04"), "two"), TABLES)
    files.publish(ranked(run, "three"), TABLES)
    now = published(run)
    assert len(now) == 2 * len(first)
    assert all(now[path] != digest for path, digest in first.items())


@pytest.mark.parametrize("table", TABLES)
def test_a_file_that_changed_after_its_manifest_stops_the_publication_of_all_tables(run: Run, table: str) -> None:
    files.publish(run, TABLES)
    before = published(run)
    ranked(run, "two")
    (run.table(table) / "part-1").write_text("changed")
    with pytest.raises(AuditError, match=f"{table}/part-1: the file changed after it was written; run the stage again"):
        files.publish(run, TABLES)
    assert published(run) == before


def test_a_removed_file_makes_the_table_unpublished(run: Run) -> None:
    assert not files.is_there(run, "audiences")
    files.publish(run, TABLES)
    assert all(files.is_there(run, table) for table in TABLES)
    (run.lake / "warehouse" / "audiences" / "ds=2026-02-03" / "part-1").unlink()
    assert [files.is_there(run, table) for table in TABLES] == [True, False]
