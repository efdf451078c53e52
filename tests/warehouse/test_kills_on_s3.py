"""A publication to an object store, killed between any two of its changes there: readers find whole tables."""

import multiprocessing
from contextlib import ExitStack
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from faults.scale import trials
from kgspark.runs import Run
from kgspark.tables import RANKED
from kgspark.warehouse.publications import PUBLICATIONS
from s3_server import S3
from worlds.published import ROWS_PER_FILE, rank
from worlds.publishing import publish
from worlds.store_proxy import Moment, proxy
from worlds.stores import ON_S3, Iceberg, Store, make_store

EARLIER, DATE = "2026-02-02", "2026-02-03"
ALL = 2 * ROWS_PER_FILE

pytestmark = [pytest.mark.extended, pytest.mark.faults]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Makes processes that need not import everything again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["worlds.publishing", "deltalake", "pyiceberg.catalog.sql", "pyiceberg.catalog.rest"]
    )
    return context


@pytest.mark.parametrize("name", ON_S3)
@pytest.mark.parametrize("again", [False, True], ids=["a new date", "the same date again"])
def test_a_kill_after_each_change(
    name: str, again: bool, s3: S3, tmp_path: Path, processes: ForkServerContext, request: pytest.FixtureRequest
) -> None:
    """The store has made the change, and the process does not know it yet. By default, of some of the changes only."""
    moment = Moment()
    with ExitStack() as stack:
        ports = {str(port): str(stack.enter_context(proxy(port, moment))) for port in (s3.port, s3.iceberg_port)}
        for number in count(1, trials(8, 1)):
            folder = tmp_path / f"{'again' if again else 'new'}{number}"
            folder.mkdir()
            store = make_store(name, folder, request.getfixturevalue)
            store.target.publish(rank(Run(folder / "lake", EARLIER), "zero"), RANKED)
            run = rank(Run(folder / "lake", DATE), "one")
            if again:
                store.target.publish(run, RANKED)
                rank(run, "two")
            moment.set(number)
            killed = killed_at(moment, processes, through(ports, s3, name, store, run))
            check_readers(store, "one" if again else None, "two" if again else "one")
            store.target.publish(run, RANKED)
            assert store.target.is_there(run, RANKED)
            check_whole(store, "two" if again else "one")
            if not killed:
                break
    assert number > 2 * len(RANKED)


def through(ports: dict[str, str], s3: S3, name: str, store: Store, run: Run) -> tuple[Any, ...]:
    """The arguments of `publish`, with the addresses of proxies."""
    environment, settings = dict(s3.environment), store.target._settings.model_dump_json()
    for port, before in ports.items():
        environment = {key: value.replace(f":{port}", f":{before}") for key, value in environment.items()}
        settings = settings.replace(f":{port}", f":{before}")
    return environment, name.split()[0], settings, run


def killed_at(moment: Moment, processes: ForkServerContext, arguments: tuple[Any, ...]) -> bool:
    """Publishes in another process until the moment; False if it ended before."""
    process = processes.Process(target=publish, args=arguments)
    process.start()
    while process.is_alive() and not moment.reached.wait(0.02):
        pass
    process.kill()
    process.join(60)
    assert process.exitcode == (-SIGKILL if moment.reached.is_set() else 0)
    return moment.reached.is_set()


def check_readers(store: Store, before: str | None, after: str) -> None:
    """Each table has the date of one model or not at all, and what is named is complete or is being replaced."""
    [*_, (newest, named)] = sorted({(row["ds"], row["model_id"]) for row in store.rows(PUBLICATIONS)})
    assert (newest, named) in {(EARLIER, "zero") if before is None else (DATE, before), (DATE, after)}
    for table in RANKED:
        found = store.models(table)
        assert found.pop((EARLIER, "zero")) == ALL
        assert found in ({}, {(DATE, before): ALL}, {(DATE, after): ALL})
        if newest == EARLIER or named == after:
            assert store.models(table)[newest, named] == ALL


def check_whole(store: Store, model: str) -> None:
    expected = {(EARLIER, "zero"): ALL, (DATE, model): ALL}
    assert [store.models(table) for table in RANKED] == [expected] * len(RANKED)
    if isinstance(store, Iceberg):
        assert all(set(store.table(table).refs()) == {"main", EARLIER, DATE} for table in RANKED)
