"""The target `files`: all tables of a night or none, never a file that was not audited, and damage is noticed."""

import json
import os
import resource
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kgspark.errors import AuditError, StageError
from kgspark.files import hash_file
from kgspark.runs import Run
from kgspark.tables import AUDIENCES, RANKED, RECOMMENDATIONS
from kgspark.warehouse import files
from kgspark.warehouse.folder import FolderWarehouse
from kgspark.warehouse.versions import SUCCESS, Version
from worlds.published import ROWS_PER_FILE, by_folder, by_pointer, listing, only, rank

DATE = "2026-02-03"
ALL = 2 * ROWS_PER_FILE


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return rank(Run(tmp_path / "lake", DATE), "one")


def day(run: Run, table: str) -> Path:
    return FolderWarehouse.of(run.lake).day(table, run.date)


def version_folder(run: Run, tables: tuple[str, ...] = RANKED) -> Path:
    return FolderWarehouse.of(run.lake).version(Version.of(run, tables))


def assert_published(run: Run, model: str, tables: tuple[str, ...] = RANKED) -> None:
    """The date's folders and the pointer have this model only, and nothing else is left."""
    assert files.is_there(run, tables)
    assert by_folder(run) == only(model, tables)
    assert by_pointer(run.lake) == (model, only(model, tables))
    assert not FolderWarehouse.of(run.lake).staging.exists()


def test_the_warehouse_has_a_version_its_links_under_the_date_and_the_pointer(run: Run) -> None:
    told = files.publish(run, RANKED)
    assert_published(run, "one")
    version = Version.of(run, RANKED)
    digest = version.id.removeprefix(f"{DATE}-")
    names = [f"part-{number:05d}-{digest}.parquet" for number in range(2)]
    folders = [f"{table}/ds={DATE}" for table in RANKED] + [f"_versions/{version.id}/{table}" for table in RANKED]
    assert listing(run.lake) == sorted(
        [
            *("_latest.json", "_versions", f"_versions/{version.id}", f"_versions/{version.id}/_version.json", *RANKED),
            *folders,
            *(f"{folder}/{name}" for folder in folders for name in names),
        ]
    )
    root = FolderWarehouse.of(run.lake).root
    assert all((root / folder / SUCCESS).is_file() for folder in folders)
    assert told == version.as_json() == json.loads((root / "_latest.json").read_text())
    assert (told["date"], told["model_id"], told["version"]) == (DATE, "one", version.id)
    for table in RANKED:
        manifest = run.manifest(table)
        listed = told["tables"][table]
        assert listed["rows"] == manifest.rows == ALL
        assert [file["name"] for file in listed["files"]] == names
        assert [file["sha256"] for file in listed["files"]] == [file.sha256 for file in manifest.files]
        assert [hash_file(day(run, table) / name) for name in names] == [file.sha256 for file in manifest.files]
    assert files.place(run, AUDIENCES) == str(root / AUDIENCES / f"ds={DATE}")


def test_damage_in_place_of_a_runs_file_does_not_reach_the_published_one(run: Run) -> None:
    files.publish(run, RANKED)
    for file in run.manifest(AUDIENCES).files:
        flip(run.table(AUDIENCES) / file.name)
    assert_published(run, "one")


def test_a_second_publication_replaces_the_date_and_leaves_other_dates(run: Run) -> None:
    files.publish(run, RANKED)
    later = rank(Run(run.lake, "2026-02-04"), "two")
    files.publish(later, RANKED)
    assert_published(later, "two")
    assert by_folder(run) == only("one")
    files.publish(rank(later, "three"), RANKED)
    assert_published(later, "three")
    assert by_folder(run) == only("one")


def test_a_date_before_the_newest_is_replaced_and_the_pointer_stays(run: Run) -> None:
    later = rank(Run(run.lake, "2026-02-04"), "two")
    files.publish(later, RANKED)
    files.publish(run, RANKED)
    assert files.is_there(run, RANKED)
    assert by_folder(run) == only("one")
    assert_published(later, "two")


def test_tables_of_two_models_are_refused(run: Run) -> None:
    rank(run, "two", tables=(RECOMMENDATIONS,))
    expected = (
        r"the tables are of different models: {'recommendations': 'two', 'audiences': 'one', .*}; run recommend again"
    )
    with pytest.raises(AuditError, match=expected):
        files.publish(run, RANKED)
    assert not FolderWarehouse.of(run.lake).root.exists()


@pytest.mark.parametrize("damage", ["changed", "missing"])
@pytest.mark.parametrize("table", RANKED)
def test_a_file_that_changed_after_its_manifest_stops_the_publication_of_all_tables(
    run: Run, table: str, damage: str
) -> None:
    files.publish(run, RANKED)
    before = listing(run.lake)
    path = rank(run, "two").table(table) / "part-00001.parquet"
    if damage == "changed":
        flip(path)
    else:
        path.unlink()
    with pytest.raises(
        AuditError, match=rf"{table}/part-00001.parquet: the file changed after it was written; run recommend again"
    ):
        files.publish(run, RANKED)
    assert listing(run.lake) == before
    assert by_folder(run) == only("one")
    assert by_pointer(run.lake) == ("one", only("one"))


def test_a_failure_at_the_second_table_puts_the_first_one_back(run: Run, other_disk: Path) -> None:
    files.publish(run, RANKED)
    elsewhere = other_disk / AUDIENCES
    shutil.move(FolderWarehouse.of(run.lake).root / AUDIENCES, elsewhere)
    (FolderWarehouse.of(run.lake).root / AUDIENCES).symlink_to(elsewhere)  # no rename leads to another disk
    before = listing(run.lake)
    rank(run, "two")
    with pytest.raises(StageError, match=r"nothing is published, and the earlier tables are still in place") as error:
        files.publish(run, RANKED)
    assert AUDIENCES in str(error.value)
    assert by_folder(run) == only("one")
    assert by_pointer(run.lake) == ("one", only("one"))
    # The new version was complete before the moves; the next publication uses it.
    assert set(listing(run.lake)) - set(before) == {
        path for path in listing(run.lake) if Version.of(run, RANKED).id in path
    }
    (FolderWarehouse.of(run.lake).root / AUDIENCES).unlink()
    files.publish(run, RANKED)
    assert_published(run, "two")


@pytest.fixture
def other_disk() -> Path:
    folder = Path("/dev/shm") / f"kgspark-test-{os.getpid()}"
    if not folder.parent.is_dir():
        pytest.skip("needs a second file system")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_place_that_is_no_folder_is_one_line_and_nothing_is_published(run: Run) -> None:
    root = FolderWarehouse.of(run.lake).root
    root.mkdir()
    (root / AUDIENCES).write_text("a file")
    with pytest.raises(StageError, match=rf"{AUDIENCES}: .*; nothing is published"):
        files.publish(run, RANKED)
    assert by_folder(run) == {}
    assert not (root / "_latest.json").exists()


def test_a_disk_that_takes_no_more_is_one_line_and_all_stays(run: Run) -> None:
    files.publish(run, RANKED)
    before = listing(run.lake)
    rank(run, "two")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # a write beyond it fails, as on a full disk
    try:
        with pytest.raises(StageError, match=r": File too large; nothing is published, and the earlier tables are"):
            files.publish(run, RANKED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert listing(run.lake) == before
    assert_published(rank(run, "one"), "one")


def flip(path: Path) -> None:
    """One changed bit in the middle of a file, in place, with its size and time of change as before."""
    times = path.stat()
    with open(path, "r+b") as stream:
        stream.seek(times.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def empty(path: Path) -> None:
    """A valid Parquet file of the same schema without rows."""
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 0), path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "emptied": empty,
    "flipped": flip,
    "foreign": lambda path: shutil.copy(path, path.with_name("part-00000.parquet")),
    "hidden": lambda path: shutil.copy(path, path.with_name(".part-00000.parquet")),
    "folder": lambda path: path.with_name("more").mkdir(),
    "unmarked": lambda path: path.with_name(SUCCESS).unlink(),
    "no folder": lambda path: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", RANKED)
@pytest.mark.parametrize("place", [day, lambda run, table: version_folder(run) / table], ids=["day", "version"])
def test_damage_in_the_warehouse_is_noticed_and_the_next_publication_repairs_it(
    run: Run, table: str, damage: str, place: Callable[[Run, str], Path]
) -> None:
    files.publish(run, RANKED)
    DAMAGES[damage](sorted(place(run, table).glob("*.parquet"))[0])
    assert not files.is_there(run, RANKED)
    files.publish(run, RANKED)
    assert_published(run, "one")


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"date": "2026-02-03"}', "a number", "another version"])
def test_a_damaged_pointer_is_noticed_and_repaired(run: Run, text: str | None) -> None:
    files.publish(run, RANKED)
    pointer = FolderWarehouse.of(run.lake).pointer
    if text is None:
        pointer.unlink()
    elif text == "a number":
        pointer.write_text(pointer.read_text().replace(f'"{DATE}"', "3"))
    else:
        pointer.write_text(pointer.read_text().replace('"one"', '"two"') if text == "another version" else text)
    assert not files.is_there(run, RANKED)
    files.publish(run, RANKED)
    assert_published(run, "one")


def test_a_pointer_to_a_newer_version_that_is_lost_moves_back(run: Run) -> None:
    files.publish(rank(Run(run.lake, "2026-02-04"), "two"), RANKED)
    files.publish(run, RANKED)
    (version,) = FolderWarehouse.of(run.lake).versions.glob("2026-02-04-*")
    shutil.rmtree(version)
    assert not files.is_there(run, RANKED)
    files.publish(run, RANKED)
    assert_published(run, "one")


def test_publications_of_two_nights_wait_for_each_other(run: Run) -> None:
    later = rank(Run(run.lake, "2026-02-04"), "two")
    waiting = threading.Thread(target=files.publish, args=[later, RANKED])
    with FolderWarehouse.of(run.lake).locked():
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert by_folder(later) == {}
    waiting.join(60)
    assert_published(later, "two")


def test_files_of_before_the_versions_are_replaced(run: Run) -> None:
    """A lake of an earlier kgspark has only the date's folders, as hard links of the run's files."""
    for table in RANKED:
        shutil.copytree(run.table(table), day(run, table), copy_function=os.link, ignore=lambda *_: ["_manifest.json"])
    assert not files.is_there(run, RANKED)
    files.publish(run, RANKED)
    assert_published(run, "one")
