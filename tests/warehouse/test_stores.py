"""Every target that is a table store: one date replaced as a whole, read back, and nothing changed silently."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faults.scale import trials
from kgspark.errors import AuditError, BusyError, StageError
from kgspark.runs import Run
from kgspark.tables import AUDIENCES, RANKED, RECOMMENDATIONS, USER_VECTORS
from kgspark.warehouse.publications import PUBLICATIONS
from kgspark.warehouse.table_rows import Stream
from nights import ROOT
from worlds.published import ROWS_PER_FILE, rank
from worlds.stores import ON_S3, STORES, Reading, Store, make_store

DATE, LATER = "2026-02-03", "2026-02-04"
ALL = 2 * ROWS_PER_FILE


@pytest.fixture(params=[*STORES, *(pytest.param(name, marks=pytest.mark.extended) for name in ON_S3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return make_store(request.param, tmp_path, request.getfixturevalue)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return rank(Run(tmp_path / "lake", DATE), "one")


def assert_published(store: Store, run: Run, models: dict[str, str], tables: tuple[str, ...] = RANKED) -> None:
    """The tables hold these models by date, and the target knows it."""
    assert all(store.models(table) == dict.fromkeys(models.items(), ALL) for table in tables)
    assert store.target.held(run.lake) == models


def test_readers_find_the_rows_of_the_night_and_what_is_published(store: Store, run: Run) -> None:
    assert not store.target.is_there(run, RANKED)
    told = store.target.publish(run, RANKED)
    assert_published(store, run, {DATE: "one"})
    rows = store.rows(RECOMMENDATIONS)
    assert sorted((row["user_id"], row["rank"], row["movie_id"]) for row in rows) == [(n, 1, n) for n in range(ALL)]
    assert [(row["ds"], row["table_name"], row["rows"]) for row in store.rows(PUBLICATIONS)] == [
        (DATE, table, ALL) for table in sorted(RANKED)
    ]
    assert {row["content"] for row in store.rows(PUBLICATIONS)} == {run.manifest(table).content for table in RANKED}
    assert (told["model_id"], told["tables"][AUDIENCES]["rows"]) == ("one", ALL)


def test_publishing_the_same_again_writes_nothing(store: Store, run: Run) -> None:
    first = store.target.publish(run, RANKED)
    state = store.state()
    assert store.target.is_there(run, RANKED)
    assert store.target.publish(run, RANKED) == first
    assert store.state() == state


def test_a_date_is_replaced_as_a_whole_and_others_stay(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    later = rank(Run(run.lake, LATER), "two")
    store.target.publish(later, RANKED)
    assert_published(store, run, {LATER: "two", DATE: "one"})
    rank(later, "three")
    assert not store.target.is_there(later, RANKED)
    store.target.publish(later, RANKED)
    assert_published(store, run, {LATER: "three", DATE: "one"})
    assert store.target.is_there(run, RANKED)


def test_a_table_that_is_left_out_is_removed_of_the_date(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    store.target.publish(rank(Run(run.lake, LATER), "two"), RANKED)
    rank(run, "three", tables=(RECOMMENDATIONS,))
    assert not store.target.is_there(run, (RECOMMENDATIONS,))
    store.target.publish(run, (RECOMMENDATIONS,))
    assert store.models(RECOMMENDATIONS) == {(DATE, "three"): ALL, (LATER, "two"): ALL}
    assert store.models(AUDIENCES) == {(LATER, "two"): ALL}
    assert store.target.is_there(run, (RECOMMENDATIONS,))


def test_a_changed_value_is_noticed_and_repaired(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    good = store.rows(AUDIENCES)
    store.spoil(AUDIENCES, DATE)
    assert store.rows(AUDIENCES) != good
    assert not store.target.is_there(run, RANKED)
    store.target.publish(run, RANKED)
    assert sorted(map(str, store.rows(AUDIENCES))) == sorted(map(str, good))


def test_verify_fast_compares_numbers_of_rows_and_what_is_named(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    fast = Run(run.lake, DATE, "fast")
    store.spoil(RECOMMENDATIONS, DATE)
    assert store.target.is_there(fast, RANKED)
    store.cut(RECOMMENDATIONS, DATE)
    assert not store.target.is_there(fast, RANKED)
    store.target.publish(run, RANKED)
    assert not store.target.is_there(rank(fast, "two"), RANKED)


@pytest.mark.parametrize("table", RANKED)
def test_rows_that_are_not_those_of_the_audit_are_not_published(store: Store, run: Run, table: str) -> None:
    """Also if the other table was written already: its commit is taken back."""
    store.target.publish(run, RANKED)
    content = run.manifest(table).files[0]
    other = rank(Run(run.lake, "2026-01-01"), "other").table(table) / content.name
    rank(run, "two")
    os.replace(other, run.table(table) / content.name)
    with pytest.raises(AuditError) as caught:
        store.target.publish(run, RANKED)
    assert str(caught.value) == f"{run.table(table)}: the rows changed after they were written; run recommend again"
    assert_published(store, run, {DATE: "one"})


def test_a_new_column_is_added_and_empty_in_earlier_dates(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    store.target.publish(rank(Run(run.lake, LATER), "two", more={"why": "liked"}), RANKED)
    assert {(row["ds"], row["why"]) for row in store.rows(RECOMMENDATIONS)} == {(DATE, None), (LATER, "liked")}
    assert store.target.is_there(run, RANKED)


def test_vectors_of_any_length_are_lists_to_the_bit(store: Store, run: Run) -> None:
    """A later night's vectors may be longer. Another writer's change of one number is noticed."""
    vectors = {DATE: np.array([0.1, -0.0, 1e-40], np.float32), LATER: np.array([1 / 3, 2, 3, 4], np.float32)}
    runs = []
    for night, vector in vectors.items():
        more = {"vector": pa.scalar(vector, pa.list_(pa.field("element", pa.float32()), len(vector)))}
        runs.append(rank(Run(run.lake, night), f"model of {night}", (USER_VECTORS,), more=more))
        store.target.publish(runs[-1], (USER_VECTORS,))
    assert all(store.target.is_there(of_date, (USER_VECTORS,)) for of_date in runs)
    found = {row["ds"]: np.array(row["vector"], np.float32) for row in store.rows(USER_VECTORS)}
    assert {date: vector.tolist() for date, vector in found.items()} == {
        date: vector.tolist() for date, vector in vectors.items()
    }
    store.spoil(USER_VECTORS, DATE)
    assert [store.target.is_there(of_date, (USER_VECTORS,)) for of_date in runs] == [False, True]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ({"why": "liked"}, {}, "the column why, which tonight's table lacks"),
        ({}, {"movie_id": "m"}, "movie_id as "),
    ],
)
def test_another_change_of_columns_is_one_line(
    store: Store, run: Run, before: dict[str, Any], after: dict[str, Any], problem: str
) -> None:
    store.target.publish(rank(run, "one", more=before), RANKED)
    later = rank(Run(run.lake, LATER), "two", more=after)
    with pytest.raises(StageError, match=problem) as caught:
        store.target.publish(later, RANKED)
    assert "\n" not in str(caught.value)
    assert_published(store, run, {DATE: "one"})


@pytest.mark.parametrize("earlier", [False, True])
def test_of_two_writers_the_second_one_loses_and_says_so(
    store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    """The other writer publishes the same date completely while the first one reads its rows."""
    if earlier:
        store.target.publish(run, RANKED)
    other = rank(Run(tmp_path / "other", DATE), "other")
    batches, lost = Stream.batches, []

    def write(model: str, run: Run) -> None:
        try:
            store.target.publish(run, RANKED)
        except BusyError as error:
            lost.append((model, str(error)))

    def after_the_other(stream: Stream) -> Iterator[Any]:
        monkeypatch.setattr(Stream, "batches", batches)
        writer = Thread(target=write, args=("other", other))
        writer.start()
        writer.join()
        yield from batches(stream)

    monkeypatch.setattr(Stream, "batches", after_the_other)
    write("two", rank(run, "two"))
    [(loser, line)] = lost
    assert line.endswith("run publish again")
    assert "\n" not in line
    assert_published(store, run, {DATE: "other" if loser == "two" else "two"})


def test_a_rollback_removes_newer_dates_which_can_be_published_again(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    later = rank(Run(run.lake, LATER), "two")
    store.target.publish(later, RANKED)
    assert store.target.roll_back(run).startswith(f"removed {LATER}")
    assert_published(store, run, {DATE: "one"})
    assert store.target.is_there(run, RANKED)
    assert not store.target.is_there(later, RANKED)
    assert store.target.roll_back(run).startswith("no newer date was there")
    store.target.publish(later, RANKED)
    assert_published(store, run, {LATER: "two", DATE: "one"})


def test_a_rollback_to_a_date_that_is_not_there_changes_nothing(store: Store, run: Run) -> None:
    store.target.publish(run, RANKED)
    state = store.state()
    with pytest.raises(StageError, match=f"2026-01-31 is not published here; published: {DATE}"):
        store.target.roll_back(Run(run.lake, "2026-01-31"))
    assert store.state() == state


def test_a_killed_publication_is_completed_by_the_next_one(
    store: Store, request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.target.publish(run, RANKED)
    rank(run, "two")
    name = request.node.callspec.params["store"]
    if name == "postgres":
        monkeypatch.setenv("OF_A_TEST", request.getfixturevalue(name).password)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    settings = store.target._settings.model_dump_json()
    command = [sys.executable, "-m", "worlds.killed_store", name.split()[0], settings, str(run.lake), DATE]
    assert subprocess.run(command, env=env, timeout=60, check=False).returncode == -signal.SIGKILL
    assert store.target.held(run.lake) == {DATE: "one"}
    assert store.models(RANKED[-1]) == {(DATE, "one"): ALL}
    assert not store.target.is_there(run, RANKED)
    store.target.publish(run, RANKED)
    assert_published(store, run, {DATE: "two"})
    assert store.target.is_there(run, RANKED)


@pytest.mark.faults
def test_readers_find_a_whole_night_at_every_moment(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the recipe of docs/targets.md, for all tables together. Every other date is published a second time.

    One reader reads all the time, another one whenever the publication begins to write a table.
    """
    store.target.publish(rank(run, "first"), RANKED)
    days = [date(2026, 3, 1) + timedelta(2 * number // 3) for number in range(trials(2, 50))]
    nights = [(str(day), f"model {number}") for number, day in enumerate(days)]
    done, batches = Event(), Stream.batches

    def poll() -> list[Reading]:
        found = [store.newest()]
        while not done.is_set():
            found.append(store.newest())
        return found

    with ThreadPoolExecutor() as readers:
        polled, between = readers.submit(poll), list[Reading]()

        def after_a_reader(stream: Stream) -> Iterator[Any]:
            between.append(readers.submit(store.newest).result())
            yield from batches(stream)

        monkeypatch.setattr(Stream, "batches", after_a_reader)
        try:
            for night in nights:
                store.target.publish(rank(Run(run.lake, night[0]), night[1]), RANKED)
        finally:
            done.set()
    found = [*polled.result(), *between, store.newest()]
    assert len({night for night, _ in found}) > 2
    replaced = {night for night in nights if night not in dict(nights).items()}
    for night, rows in found:
        assert night in [(DATE, "first"), *nights]
        # Of a model that is being replaced there are all rows of a table, or none.
        assert set(rows.values()) <= ({0, ALL} if night in replaced else {ALL}), (night, rows)
