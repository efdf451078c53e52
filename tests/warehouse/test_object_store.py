"""The target `files` on an object store: readers of a pointer see one whole version, and damage is noticed."""

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Thread

import pytest
from deltalake import DeltaTable
from pydantic import ValidationError

from faults.scale import trials
from kgspark.errors import AuditError, BusyError, StageError
from kgspark.files import TableFiles, hash_file
from kgspark.night.settings import NightSettings
from kgspark.runs import Run, StageWork
from kgspark.stores.copies import Copy
from kgspark.stores.store import Store
from kgspark.tables import AUDIENCES, PUBLISHABLE, PUBLISHED, RANKED
from kgspark.warehouse import files
from kgspark.warehouse.delta import DeltaSettings, DeltaTarget
from kgspark.warehouse.nights import nights_of
from kgspark.warehouse.object_store import StoreWarehouse
from kgspark.warehouse.retention import night_dates, remove_old
from kgspark.warehouse.settings import KeepSettings
from kgspark.warehouse.versions import SUCCESS, Version
from s3_server import S3
from warehouse.test_polling import Poller, publish_under, with_pyarrow
from worlds.published import ROWS_PER_FILE, only, rank
from worlds.stored_lakes import by_folder, by_pointer, copy_at, counted_calls, keys_of, models_of

DATE, LATER = "2026-02-03", "2026-02-04"
ALL = KeepSettings(nights=None, published=None, versions=None)


@pytest.fixture
def uri(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    s3.use(monkeypatch)
    return s3.new_uri()


@pytest.fixture
def run(uri: str, tmp_path: Path) -> Run:
    return rank(Run(copy_at(tmp_path / "one", uri), DATE), "one")


@pytest.fixture
def warehouse(uri: str) -> Store:
    return Store(f"{uri}/warehouse")


def assert_published(run: Run, model: str, tables: tuple[str, ...] = RANKED) -> None:
    """The date's folders and both pointers have this model only."""
    uri = Copy.of(run.lake).store.uri
    assert files.is_there(run, tables)
    assert by_folder(uri, run.date) == only(model, tables)
    assert by_pointer(uri, f"_dates/{run.date}.json") == by_pointer(uri) == (model, only(model, tables))


def test_the_warehouse_has_a_version_its_copies_under_the_date_and_two_pointers(
    uri: str, run: Run, warehouse: Store
) -> None:
    told = files.publish(run, RANKED)
    assert_published(run, "one")
    version = Version.of(run, RANKED)
    digest = version.id.removeprefix(f"{DATE}-")
    names = [*(f"part-{number:05d}-{digest}.parquet" for number in range(2)), SUCCESS]
    folders = [f"{table}/ds={DATE}" for table in RANKED] + [f"_versions/{version.id}/{table}" for table in RANKED]
    assert keys_of(warehouse.uri) == {
        *("_latest.json", f"_dates/{DATE}.json", f"_versions/{version.id}/_version.json"),
        *(f"{folder}/{name}" for folder in folders for name in names),
    }
    assert told == version.as_json() == json.loads(warehouse.read("_latest.json")[0])
    for table in RANKED:
        hashes = [file.sha256 for file in run.manifest(table).files]
        assert [file["sha256"] for file in told["tables"][table]["files"]] == hashes
        for folder in (f"{table}/ds={DATE}", told["tables"][table]["path"]):
            assert [warehouse.sha256(f"{folder}/{name}") for name in names[:2]] == hashes
    assert files.place(run, AUDIENCES) == f"{uri}/warehouse/{AUDIENCES}/ds={DATE}"
    assert not keys_of(uri, "leases")


def test_publishing_again_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files.publish(run, RANKED)
    with counted_calls(monkeypatch) as calls:
        assert files.is_there(run, RANKED)
        assert files.publish(run, RANKED) == first
        assert not calls


def test_no_byte_of_a_table_is_read_to_publish_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store copies; the only objects that are read are small."""
    with counted_calls(monkeypatch, "get", "copy") as calls, monkeypatch.context() as patch:
        patch.setattr(Store, "sha256", lambda store, key: pytest.fail(f"{key} is read"))
        patch.setattr(Store, "download", lambda store, key, path: pytest.fail(f"{key} is read"))
        files.publish(run, RANKED)
        assert calls["copy"] == 2 * 2 * len(RANKED)


def test_a_second_publication_replaces_the_date_and_leaves_other_dates(uri: str, run: Run) -> None:
    files.publish(run, RANKED)
    later = rank(Run(run.lake, LATER), "two")
    files.publish(later, RANKED)
    assert_published(later, "two")
    assert by_folder(uri, DATE) == only("one")
    assert not files.is_there(rank(later, "three"), RANKED)
    files.publish(later, RANKED)
    assert_published(later, "three")
    assert by_folder(uri, DATE) == only("one")
    assert files.is_there(run, RANKED)
    assert files.held(run.lake) == {LATER: "three", DATE: "one"}


def test_a_date_before_the_newest_is_replaced_and_the_pointer_stays(uri: str, run: Run) -> None:
    later = rank(Run(run.lake, LATER), "two")
    files.publish(later, RANKED)
    files.publish(run, RANKED)
    assert files.is_there(run, RANKED)
    assert by_pointer(uri, f"_dates/{DATE}.json") == ("one", only("one"))
    assert_published(later, "two")


def test_another_machine_publishes_the_next_night_and_reads_this_one(uri: str, run: Run, tmp_path: Path) -> None:
    files.publish(run, RANKED)
    lake = copy_at(tmp_path / "other", uri)
    folder = files.warehouse_of(lake).readable(AUDIENCES, DATE)
    assert [hash_file(path) for path in sorted(folder.glob("*.parquet"))] == [
        file.sha256 for file in run.manifest(AUDIENCES).files
    ]
    assert files.warehouse_of(lake).readable(AUDIENCES, LATER) is None
    files.publish(rank(Run(lake, LATER), "two"), RANKED)
    assert_published(Run(lake, LATER), "two")
    assert files.is_there(run, RANKED)


@pytest.mark.parametrize(("table", "damage"), list(zip(RANKED, ("changed", "missing", "changed"), strict=True)))
def test_an_object_that_is_not_the_audited_one_stops_the_publication(
    uri: str, run: Run, table: str, damage: str
) -> None:
    files.publish(run, RANKED)
    key = f"{Copy.of(run.lake).key_of(rank(run, 'two').place(table))}/part-00001.parquet"
    if damage == "changed":
        Store(uri).put(key, b"x")
    else:
        Store(uri).remove([key])
    with pytest.raises(AuditError, match=rf"{uri}/{key}: .*; run recommend again"):
        files.publish(run, RANKED)
    assert by_pointer(uri) == by_pointer(uri, f"_dates/{DATE}.json") == ("one", only("one"))
    assert by_folder(uri, DATE) == only("one")
    refused = Version.of(run, RANKED).id
    files.publish(rank(run, "three"), RANKED)
    assert not any(refused in each for each in keys_of(uri, "warehouse"))


def test_an_object_that_changes_while_it_is_copied_is_not_published(
    uri: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Store.copy

    def of_another(store: Store, key: str, to: Store, name: str) -> str:
        store.put(key, b"other bytes")
        return copy(store, key, to, name)

    monkeypatch.setattr(Store, "copy", of_another)
    with pytest.raises(AuditError, match="the content changed after it was written; run recommend again"):
        files.publish(run, RANKED)
    assert not by_folder(uri, DATE)
    assert Store(f"{uri}/warehouse").read("_latest.json") is None


DAMAGES: dict[str, Callable[[Store, str], object]] = {
    "deleted": lambda store, key: store.remove([key]),
    "changed": lambda store, key: store.put(key, store.read(key)[0][:-1] + b"?"),
    "foreign": lambda store, key: store.put(key.replace("part-", "more-"), b"x"),
    "foreign below": lambda store, key: store.put(f"{key.rpartition('/')[0]}/more/{key.rpartition('/')[2]}", b"x"),
    "no mark": lambda store, key: store.remove([f"{key.rpartition('/')[0]}/{SUCCESS}"]),
    "empty mark": lambda store, key: store.put(f"{key.rpartition('/')[0]}/{SUCCESS}", b""),
    "other mark": lambda store, key: store.put(f"{key.rpartition('/')[0]}/{SUCCESS}", b'{"version": []}'),
    "no folder": lambda store, key: store.remove([each.key for each in store.objects(key.rpartition("/")[0])]),
}


@pytest.mark.parametrize("place", ["day", "version"])
def test_damage_in_the_warehouse_is_noticed_and_the_next_publication_repairs_it(
    run: Run, warehouse: Store, place: str
) -> None:
    files.publish(run, RANKED)
    before = keys_of(warehouse.uri)
    version = Version.of(run, RANKED)
    folder = f"{AUDIENCES}/ds={DATE}" if place == "day" else f"_versions/{version.id}/{AUDIENCES}"
    for name, damage in DAMAGES.items():
        damage(warehouse, f"{folder}/{version.tables[AUDIENCES][0].name}")
        assert not files.is_there(run, RANKED), name
        files.publish(run, RANKED)
        assert_published(run, "one")
        assert keys_of(warehouse.uri) == before, name


@pytest.mark.parametrize("pointer", ["_latest.json", f"_dates/{DATE}.json", "the description"])
def test_a_damaged_pointer_is_noticed_and_repaired(run: Run, warehouse: Store, pointer: str) -> None:
    files.publish(run, RANKED)
    key = f"_versions/{Version.of(run, RANKED).id}/_version.json" if pointer == "the description" else pointer
    good = warehouse.read(key)[0].decode()
    of_a_number, of_another = good.replace(f'"{DATE}"', "3"), good.replace('"one"', '"two"')
    for text in ("", f'{{"date": "{DATE}"}}', of_a_number, of_another):
        warehouse.put(key, text.encode())
        assert not files.is_there(run, RANKED), text
        files.publish(run, RANKED)
        assert warehouse.read(key)[0].decode() == good, text
    warehouse.remove([key])
    assert not files.is_there(run, RANKED)
    files.publish(run, RANKED)
    assert_published(run, "one")


def test_a_pointer_to_a_newer_version_that_is_lost_moves_back(run: Run, warehouse: Store) -> None:
    later = rank(Run(run.lake, LATER), "two")
    files.publish(later, RANKED)
    files.publish(run, RANKED)
    warehouse.remove([f"_versions/{Version.of(later, RANKED).id}/_version.json"])
    assert not files.is_there(run, RANKED)
    files.publish(run, RANKED)
    assert_published(run, "one")


def test_publications_of_two_machines_wait_for_each_other(uri: str, run: Run, tmp_path: Path) -> None:
    later = rank(Run(copy_at(tmp_path / "other", uri), LATER), "two")
    waiting = Thread(target=files.publish, args=[later, RANKED])
    with files.warehouse_of(run.lake).locked():
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert by_folder(uri, LATER) == {}
    waiting.join(60)
    assert_published(later, "two")


@pytest.mark.parametrize("moment", [0, 1, 2, 2 + len(PUBLISHABLE)])
def test_a_publication_that_stood_still_moves_nothing_any_more(
    uri: str, run: Run, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Another process takes the warehouse over before the description, the date, the first folder, or the pointer."""
    files.publish(run, RANKED)
    rank(run, "two")
    check, checks, before = StoreWarehouse._check_lease, [], {}

    def taken_over(warehouse: StoreWarehouse) -> None:
        if len(checks) == moment:
            before.update({each.key: each.etag for each in warehouse.store.objects()})
            warehouse.copy.store.put("leases/warehouse.json", b"{}")
        checks.append(warehouse)
        check(warehouse)

    monkeypatch.setattr(StoreWarehouse, "_check_lease", taken_over)
    with pytest.raises(BusyError, match=r"leases/warehouse.json: .* another one has taken over the warehouse; it chan"):
        files.publish(run, RANKED)
    assert {each.key: each.etag for each in Store(f"{uri}/warehouse").objects()} == before
    assert by_pointer(uri) == ("one", only("one"))


def test_a_rollback_moves_the_pointer_and_nothing_else(uri: str, run: Run, warehouse: Store) -> None:
    files.publish(run, RANKED)
    later = rank(Run(run.lake, LATER), "two")
    files.publish(later, RANKED)
    before = keys_of(uri)
    assert files.roll_back(run) == f"_latest.json names {Version.of(run, RANKED).id}"
    assert by_pointer(uri) == ("one", only("one"))
    assert by_folder(uri, LATER) == only("two")
    assert keys_of(uri) == before
    assert not files.is_there(later, RANKED)
    files.publish(later, RANKED)
    assert_published(later, "two")
    version = Version.of(run, RANKED)
    warehouse.put(f"_versions/{version.id}/{AUDIENCES}/{version.tables[AUDIENCES][0].name}", b"x")
    with pytest.raises(StageError, match=f"the version of {DATE} is damaged, so _latest.json is not changed"):
        files.roll_back(run)
    with pytest.raises(StageError, match=f"2026-01-31 is not published here; published: {LATER}, {DATE}"):
        files.roll_back(Run(run.lake, "2026-01-31"))
    assert by_pointer(uri) == ("two", only("two"))


DATES = [f"2026-02-{day:02d}" for day in range(1, 5)]


@pytest.fixture
def lake(uri: str, tmp_path: Path) -> Path:
    """Four nights, all published, and the pointer at the second one."""
    folder = copy_at(tmp_path / "one", uri)
    for date in DATES:
        files.publish(rank(Run(folder, date), f"model-{date}"), RANKED)
    files.roll_back(Run(folder, DATES[1]))
    return folder


def left(lake: Path) -> tuple[list[str], list[str], list[str]]:
    """The days of the nights, of the published dates, and of the versions."""
    warehouse = files.warehouse_of(lake)
    ids = [name[:10] for name in warehouse.version_ids()]
    return tuple([date[-2:] for date in sorted(dates)] for dates in (night_dates(lake), warehouse.dates(), ids))


def test_what_the_pointer_names_is_never_removed(uri: str, lake: Path, tmp_path: Path) -> None:
    tonight = Run(lake, DATES[-1])
    assert remove_old(tonight, ALL) == []
    told = remove_old(tonight, KeepSettings(nights=1, published=1, versions=0))
    assert told[:2] == [f"keep: removed {what}: 2026-02-01 to 2026-02-03 (2)" for what in ("nights", "published dates")]
    assert told[2].startswith("keep: removed versions: 2026-02-0")
    assert left(lake) == (["02", "04"], ["02", "04"], ["02", "04"])
    assert by_pointer(uri) == ("model-2026-02-02", only("model-2026-02-02"))
    assert files.is_there(Run(lake, DATES[1]), RANKED)
    assert left(copy_at(tmp_path / "other", uri)) == left(lake)
    for prefix in ("runs", "manifests", "warehouse"):
        assert not any(DATES[0] in key or DATES[2] in key for key in keys_of(uri, prefix))


def nights_with_files(lake: Path) -> list[str]:
    return sorted({path.parts[-3][-2:] for path in (lake / "runs").glob("*/*/*.parquet")})


def test_the_copy_keeps_the_files_of_the_newest_nights(uri: str, lake: Path, tmp_path: Path) -> None:
    """And of those that are needed: the pointer is at the second one. All manifests stay."""
    for day in ("05", "06"):
        files.publish(rank(Run(lake, f"2026-02-{day}"), f"model-{day}"), RANKED)
    files.roll_back(Run(lake, DATES[1]))
    before = keys_of(uri)
    tonight = Run(lake, "2026-02-06")
    with Run(lake, DATES[0]).locked():
        remove_old(tonight, ALL)  # another process may read any night
    assert nights_with_files(lake) == ["01", "02", "03", "04", "05", "06"]
    for date in (DATES[0], "2026-02-05"):
        assert files.warehouse_of(lake).readable(AUDIENCES, date)
    with tonight.locked():
        remove_old(tonight, ALL, {DATES[2]})
        assert nights_with_files(lake) == ["02", "03", "04", "05", "06"]
        remove_old(tonight, ALL)
    assert nights_with_files(lake) == ["02", "04", "05", "06"]
    assert [path.name[:10] for path in (lake / "warehouse" / "_versions").iterdir()] == ["2026-02-05"]
    assert keys_of(uri) == before
    first = Run(lake, DATES[0])
    first.check_files(RANKED)
    assert models_of(first) == only(f"model-{DATES[0]}")


def test_a_removal_that_was_killed_is_ended_by_the_next_one(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, calls = Store.remove, count()

    def killed_at_the_second(store: Store, keys: list[str]) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        remove(store, keys)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            remove_old(Run(lake, DATES[-1]), KeepSettings(published=3))
    assert left(lake)[1] == ["01", "02", "03", "04"]
    assert list(files.held(lake)) == DATES[::-1]
    remove_old(Run(lake, DATES[-1]), KeepSettings(published=3))
    assert left(lake)[1] == ["02", "03", "04"]


def test_replaced_versions_are_kept_in_the_order_of_their_publication(run: Run) -> None:
    """The store's times are in seconds."""
    ids = []
    for model, seconds in (("one", 0), ("two", 0), ("one", 1.01), ("three", 1.01)):
        time.sleep(seconds)
        files.publish(rank(run, model), RANKED)
        ids.append(Version.of(run, RANKED).id)
    remove_old(run, KeepSettings(versions=1))
    assert files.warehouse_of(run.lake).version_ids() == [ids[3], ids[2]]


def test_the_nights_with_their_state_on_another_machine(uri: str, lake: Path, tmp_path: Path) -> None:
    work = StageWork.plan(Run(lake, LATER), "of ratings", writes=(PUBLISHED,), settings={})
    work.begin()[PUBLISHED].mkdir()
    work.commit({PUBLISHED: TableFiles([])}, {})
    rank(Run(lake, "2026-02-05"), "new")
    other = copy_at(tmp_path / "other", uri)
    found = {night.date: (night.state, night.published, night.model_id) for night in nights_of(other)}
    assert found == {
        "2026-02-05": ("empty", "no", "new"),
        **{date: ("empty", "yes", f"model-{date}") for date in DATES[::-1]},
        DATES[1]: ("empty", "latest", f"model-{DATES[1]}"),
    }
    ranked = sum(file.bytes for table in RANKED for file in Run(lake, DATES[0]).manifest(table).files)
    night = nights_of(other)[-1]
    assert 3 * ranked < night.bytes < 3 * ranked + 10_000
    # Six files three times, six marks, one description.
    assert night.files == 3 * 2 * len(RANKED) + 2 * len(RANKED) + 1
    assert [night.bytes for night in nights_of(lake)] == [night.bytes for night in nights_of(other)]


def test_tables_of_delta_lake_are_in_the_store_by_default(uri: str, run: Run) -> None:
    target = DeltaTarget(DeltaSettings())
    target.publish(run, RANKED)
    assert target.is_there(run, RANKED)
    assert target.place(run, AUDIENCES) == f"{uri}/delta/{AUDIENCES} ds={DATE}"
    assert set(DeltaTable(f"{uri}/delta/{AUDIENCES}").to_pyarrow_table()["model_id"].to_pylist()) == {"one"}
    assert not (run.lake / "delta").exists()


def test_a_catalogue_in_a_file_is_refused() -> None:
    given = {"lake": "s3://lake/x", "source": {"path": "x"}, "publish": {"targets": ["files", "iceberg"]}}
    with pytest.raises(
        ValidationError, match=r"publish\.iceberg\.catalog: expected a catalogue, because the lake is on"
    ):
        NightSettings.model_validate(given)
    given["publish"]["iceberg"] = {"catalog": {"type": "rest", "uri": "http://127.0.0.1:1"}}
    assert NightSettings.model_validate(given).store == "s3://lake/x"


@pytest.mark.faults
def test_polling_readers_see_whole_versions(s3: S3, uri: str, run: Run) -> None:
    """By obstore, and by pyarrow's own client of S3."""
    number_of_files = trials(1, 10)
    client, root = s3.file_system(), f"{uri.removeprefix('s3://')}/warehouse"

    def with_the_client() -> set[str]:
        with client.open_input_stream(f"{root}/_latest.json") as stream:
            latest = json.loads(stream.read())
        found = {latest["model_id"]}
        for table in latest["tables"].values():
            paths = [f"{root}/{table['path']}/{file['name']}" for file in table["files"]]
            rows = with_pyarrow(paths, client)
            assert len(rows) == table["rows"] == number_of_files * ROWS_PER_FILE
            found |= set(rows)
        return found

    def with_obstore() -> set[str]:
        model, tables = by_pointer(uri)
        assert all(len(rows) == number_of_files * ROWS_PER_FILE for rows in tables.values())
        return {model, *(row for rows in tables.values() for row in rows)}

    files.publish(rank(run, "model 0", files=number_of_files), RANKED)
    pollers = {"pyarrow": Poller(with_the_client), "obstore": Poller(with_obstore)}
    publish_under(pollers.values(), run, trials(5, 50), number_of_files)
    for name, poller in pollers.items():
        assert not poller.failures, (name, poller.failures[0])
        assert all(len(models) == 1 for models in poller.models), name
        assert len(set().union(*poller.models)) > 1, name
