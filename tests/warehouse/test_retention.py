"""What `keep` removes and what it never removes, and the list of nights."""

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from kgspark.files import TableFiles
from kgspark.manifests import Manifest
from kgspark.runs import Run, StageWork, run_dates
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RANKED, RATINGS, RECOMMENDATIONS, SERVED, TRIPLES
from kgspark.warehouse import files
from kgspark.warehouse.folder import FolderWarehouse
from kgspark.warehouse.nights import NightState, nights_of
from kgspark.warehouse.retention import night_dates, remove_old
from kgspark.warehouse.settings import KeepSettings
from kgspark.warehouse.versions import Version
from worlds.published import by_pointer, rank

DATES = [f"2026-02-{day:02d}" for day in range(1, 7)]
NEWEST = DATES[::-1]
ALL = KeepSettings(nights=None, published=None, versions=None)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Six nights, all published."""
    for date in DATES:
        files.publish(rank(Run(tmp_path, date), f"model-{date}"), RANKED)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "2026-2-1").mkdir()
    return tmp_path


def left(lake: Path) -> tuple[list[str], list[str], int]:
    """Dates of nights, published dates, and the number of versions."""
    warehouse = FolderWarehouse.of(lake)
    return night_dates(lake), warehouse.dates(), len(list(warehouse.versions.iterdir()))


def keep(**numbers: int | None) -> KeepSettings:
    return ALL.model_copy(update=numbers)


def tonight(lake: Path) -> Run:
    return Run(lake, DATES[-1])


def test_null_keeps_all_and_so_does_the_default_for_two_weeks(lake: Path) -> None:
    assert remove_old(tonight(lake), ALL) == remove_old(tonight(lake), KeepSettings()) == []
    assert left(lake) == (NEWEST, NEWEST, 6)


def test_old_nights_are_removed_and_their_tables_stay_published(lake: Path) -> None:
    assert remove_old(tonight(lake), keep(nights=2)) == ["keep: removed nights: 2026-02-01 to 2026-02-04 (4)"]
    assert left(lake) == (NEWEST[:2], NEWEST, 6)
    assert {path.name for path in (lake / "runs").iterdir()} == {*NEWEST[:2], "notes", "2026-2-1"}


def test_a_night_without_a_complete_table_does_not_count(lake: Path) -> None:
    """Nights that failed in their first stage must not push out those that made tables."""
    for date in ("2026-02-03", "2026-02-07", "2026-02-08"):
        shutil.rmtree(lake / "runs" / date, ignore_errors=True)
        (lake / "runs" / date / "ratings").mkdir(parents=True)
    assert run_dates(lake) == [date for date in DATES if date != "2026-02-03"]
    remove_old(tonight(lake), keep(nights=2))
    assert night_dates(lake) == ["2026-02-08", "2026-02-07", *NEWEST[:2]]


def test_old_published_dates_are_removed(lake: Path) -> None:
    remove_old(tonight(lake), keep(published=2))
    assert left(lake) == (NEWEST, NEWEST[:2], 6)
    remove_old(tonight(lake), keep(versions=1))  # no date has them any more, so they count as replaced
    assert left(lake) == (NEWEST, NEWEST[:2], 3)
    assert by_pointer(lake)[0] == f"model-{NEWEST[0]}"


def test_what_is_needed_is_never_removed(lake: Path) -> None:
    """The pointer's night, tonight's, which is older here, and a night that is named."""
    files.publish(rank(Run(lake, DATES[1]), "again"), RANKED)
    remove_old(Run(lake, DATES[1]), KeepSettings(nights=1, published=1, versions=0), {DATES[3]})
    needed = [NEWEST[0], DATES[3], DATES[1]]
    assert left(lake) == (needed, needed, 3)
    assert by_pointer(lake)[0] == f"model-{NEWEST[0]}"
    assert files.is_there(Run(lake, DATES[1]), RANKED)


def test_the_nights_that_trained_what_is_served_are_never_removed(lake: Path) -> None:
    """Those of the pointer's model and of tonight's, which is older here."""
    for date, trained in ((DATES[5], DATES[2]), (DATES[1], DATES[0])):
        model = Manifest(MODEL, "train-embeddings", "", {}, {}, [], details={SERVED: {"trained": trained}})
        Run(lake, date).table(MODEL).mkdir(parents=True, exist_ok=True)
        model.write(Run(lake, date).table(MODEL))
    remove_old(Run(lake, DATES[1]), keep(nights=1))
    assert night_dates(lake) == [DATES[5], DATES[2], DATES[1], DATES[0]]


def test_replaced_versions_are_kept_in_the_order_of_their_publication(lake: Path) -> None:
    run = tonight(lake)
    ids = [Version.of(run, RANKED).id]
    for model in ("a", "b", "c", "a", "d"):
        files.publish(rank(run, model), RANKED)
        ids.append(Version.of(run, RANKED).id)
        for moment, name in enumerate(ids):  # as if an hour lay between them
            os.utime(FolderWarehouse.of(lake).versions / name, (moment, moment))
    remove_old(run, keep(versions=1))
    names = {path.name for path in FolderWarehouse.of(lake).versions.iterdir()}
    assert names & set(ids) == {ids[4], ids[5]}


def test_a_version_of_the_time_when_the_clock_was_ahead_is_not_the_newest_for_ever(lake: Path) -> None:
    run = tonight(lake)
    ids = [Version.of(run, RANKED).id]
    ahead = time.time() + 86_400
    os.utime(FolderWarehouse.of(lake).versions / ids[0], (ahead, ahead))
    for model in ("a", "b", "c"):
        files.publish(rank(run, model), RANKED)
        ids.append(Version.of(run, RANKED).id)
    remove_old(run, keep(versions=1))
    names = {path.name for path in FolderWarehouse.of(lake).versions.iterdir()}
    assert names & set(ids) == {ids[2], ids[3]}


def test_a_night_that_another_process_works_on_stays(lake: Path) -> None:
    with Run(lake, DATES[0]).locked():
        remove_old(tonight(lake), keep(nights=1))
    assert night_dates(lake) == [NEWEST[0], DATES[0]]


def test_the_rest_of_a_killed_removal_is_removed(lake: Path) -> None:
    rest = lake / "runs" / ".removed" / DATES[0]
    rest.mkdir(parents=True)
    (rest / "half").touch()
    remove_old(tonight(lake), keep(nights=5))
    assert night_dates(lake) == NEWEST[:5]
    assert not (lake / "runs" / ".removed").exists()


def complete(run: Run, tables: Iterable[str], reads: Iterable[str] = ()) -> None:
    for table in tables:
        work = StageWork.plan(run, f"of {table}", reads=list(reads), writes=(table,), settings={})
        work.begin()[table].mkdir()
        work.commit({table: TableFiles([])}, {})


def states(lake: Path) -> dict[str, tuple[str, str, str]]:
    return {night.date: (night.state, night.published, night.model_id) for night in nights_of(lake)}


def test_the_nights_with_their_state(tmp_path: Path) -> None:
    whole, replaced, half, none = (Run(tmp_path, date) for date in DATES[:4])
    for run in (whole, replaced):
        complete(run, (RATINGS, ENTITIES, TRIPLES, MODEL))
        files.publish(rank(run, "m1"), RANKED)
        complete(run, (PUBLISHED,), reads=[RECOMMENDATIONS])
    rank(replaced, "m2")
    complete(half, (RATINGS, ENTITIES))
    none.folder.mkdir()
    assert nights_of(tmp_path / "nowhere") == []
    assert list(states(tmp_path)) == DATES[3::-1]
    assert states(tmp_path) == {
        whole.date: ("complete", "yes", "m1"),
        replaced.date: ("up to recommend", "latest", "m1"),
        half.date: ("up to index-entities", "no", ""),
        none.date: ("empty", "no", ""),
    }
    with half.locked():
        remove_old(replaced, keep(nights=1))
        assert states(tmp_path) == {
            whole.date: ("removed", "yes", "m1"),
            replaced.date: ("up to recommend", "latest", "m1"),
            half.date: ("running", "no", ""),
            none.date: ("empty", "no", ""),
        }


def test_sizes_count_a_linked_file_once(lake: Path) -> None:
    found: NightState = nights_of(lake)[0]
    run = Run(lake, found.date)
    ranked = sum(file.bytes for table in RANKED for file in Manifest.read(run.table(table)).files)
    assert 2 * ranked < found.bytes < 3 * ranked + 20_000
    # Twice six Parquet files, three manifests, one description, three marks.
    assert found.files == 19
