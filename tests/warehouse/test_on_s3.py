"""Targets whose tables lie on a real S3 server: errors of the store, writers at the same time, and its own readers.

`test_stores.py` runs all its tests on the same server, with the extended ones.
"""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import polars
import pytest
from deltalake import DeltaTable

from kgspark.cli import main
from kgspark.errors import BusyError, StageError
from kgspark.night.reads import each_target, publish_targets
from kgspark.runs import Run
from kgspark.stages import publish
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse.delta import DeltaSettings, DeltaTarget
from kgspark.warehouse.iceberg import IcebergSettings, IcebergTarget
from kgspark.warehouse.targets import Target
from nights import a_night, configuration
from s3_server import S3, free_ports
from worlds.published import ROWS_PER_FILE, rank
from worlds.stores import ON_S3, Delta, Iceberg, make_store

DATE = "2026-02-03"
ALL = 2 * ROWS_PER_FILE
SECRET = "not-the-Key-77"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return rank(Run(tmp_path / "lake", DATE), "one")


@pytest.mark.parametrize("name", ON_S3)
def test_polars_finds_the_rows(
    name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    store: Any = make_store(name, tmp_path, request.getfixturevalue)
    store.target.publish(run, RANKED)
    assert store.models(RECOMMENDATIONS) == {(DATE, "one"): ALL}
    if isinstance(store, Delta):
        lazy = polars.scan_delta(f"{store.root}/{RECOMMENDATIONS}")
    else:
        lazy = polars.scan_iceberg(store.table(RECOMMENDATIONS))
    assert lazy.select("user_id", "ds").sort("user_id").collect().rows() == [(user, DATE) for user in range(ALL)]
    assert store.target.is_there(run, RANKED)


def delta(address: str, folder: Path) -> Target:
    return DeltaTarget(DeltaSettings(path=address))


def iceberg(address: str, folder: Path) -> Target:
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": address}
    return IcebergTarget(IcebergSettings(catalog=catalog))


@pytest.mark.parametrize(
    ("address", "environment", "problem"),
    [
        (
            "s3://nowhere/tables",
            {},
            r"the bucket does not exist \(N\w+\); make it, or correct its name or AWS_ENDPOINT",
        ),
        ("", {"AWS_SECRET_ACCESS_KEY": SECRET}, r"the store refuses the key \(S\w+\); correct AWS_ACCESS_KEY_ID and"),
        ("", {"AWS_ACCESS_KEY_ID": SECRET}, r"the store refuses the key \(I\w+\); correct AWS_ACCESS_KEY_ID and"),
        pytest.param(  # clients ask again for some seconds
            "",
            {"AWS_ENDPOINT_URL": ""},
            r"the store does not answer \(Co[\w ]+\); correct AWS_ENDPOINT_URL or the addr",
            marks=pytest.mark.extended,
        ),
    ],
    ids=["no bucket", "wrong key", "unknown key", "no server"],
)
@pytest.mark.parametrize("make", [delta, iceberg])
def test_an_error_of_the_store_is_one_line_that_says_what_to_do(
    s3: S3, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    make: Any, address: str, environment: dict[str, str], problem: str,
) -> None:  # fmt: skip
    s3.use(monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value or f"http://{s3.host}:{free_ports(1)[0]}")
    with pytest.raises(StageError, match=problem) as caught:
        make(address or s3.new_uri(), tmp_path).publish(run, RANKED)
    line = str(caught.value)
    assert line.endswith("nothing is published there; run publish again after the repair")
    assert "\n" not in line
    assert SECRET not in line
    assert s3.secret_key not in line


@pytest.mark.extended
def test_nights_are_listed_removed_and_rolled_back(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands, and by `keep.published`."""
    s3.use(monkeypatch)
    lake, dates = tmp_path / "lake", ["2026-02-01", "2026-02-02", "2026-02-03"]
    sections = {
        "source": {"path": "unread"},
        "keep": {"published": 2},
        "publish": {"targets": ["delta", "iceberg"], "delta": {"path": s3.new_uri()}, "iceberg": {"catalog": {
            "type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": s3.new_uri()}}},
    }  # fmt: skip
    for day in dates:
        night = a_night(lake, run_date=day, **sections)
        rank(night.run, f"of {day}")
        each_target(night, lambda name, target, run=night.run: target.publish(run, RANKED))
        publish._remove_old(night, None)
    conf = str(configuration(tmp_path, lake=str(lake), **sections))
    capsys.readouterr()
    assert main(["nights", conf]) == 0
    printed = capsys.readouterr().out.splitlines()
    for name in ("delta", "iceberg"):
        assert f"{name}: 2 dates, newest {dates[2]}, oldest {dates[1]}" in printed
    assert main(["rollback", conf, dates[1]]) == 0
    for target in publish_targets(night).values():
        assert target.held(lake) == {dates[1]: f"of {dates[1]}"}


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections, and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.extended
@pytest.mark.parametrize("make", [delta, iceberg])
def test_a_store_that_never_answers_keeps_a_night_no_longer_than_two_minutes(
    s3: S3, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: str, make: Any
) -> None:
    s3.use(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    began = time.monotonic()
    with pytest.raises(StageError, match=r"the store does not answer \([\w ]+\)"):
        make(s3.new_uri(), tmp_path).publish(run, RANKED)
    assert time.monotonic() - began < 120


@pytest.mark.extended
@pytest.mark.parametrize("name", ON_S3)
def test_writers_at_the_same_moment_leave_the_whole_night_of_one(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Also, no commit is lost: each publication that succeeded is in the history of each table."""
    store: Any = make_store(name, tmp_path, request.getfixturevalue)
    store.target.publish(rank(Run(tmp_path / "lake", DATE), "first"), RANKED)
    done, lost = ["first"], []
    barrier = Barrier(2)

    def write(model: str, run: Run) -> None:
        barrier.wait()
        try:
            store.target.publish(run, RANKED)
            done.append(model)
        except BusyError:
            lost.append(model)

    for number in range(10):
        runs = {
            f"{number} by {writer}": rank(Run(tmp_path / str(writer), DATE), f"{number} by {writer}") for writer in "ab"
        }
        writers = [Thread(target=write, args=item) for item in runs.items()]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        [model] = store.target.held(tmp_path / "lake").values()
        assert model in done
        assert all(store.models(table) == {(DATE, model): ALL} for table in RANKED)
    assert len(done) + len(lost) == 21
    assert lost
    for table in RANKED:
        assert set(done) <= written_models(store, table)


def written_models(store: Delta | Iceberg, table: str) -> set[str]:
    """The models that the commits of a table name."""
    if isinstance(store, Delta):
        return {str(commit.get("kgspark.model_id")) for commit in DeltaTable(f"{store.root}/{table}").history()}
    return {str(snapshot.summary["kgspark.model_id"]) for snapshot in store.table(table).snapshots()[1:]}
