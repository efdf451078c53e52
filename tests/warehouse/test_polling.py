"""Readers that poll while tables are published: by the pointer they never fail, and nowhere do they find two models."""

import json
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSystem

from kgspark.runs import Run
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse import files
from kgspark.warehouse.retention import remove_old
from kgspark.warehouse.settings import KeepSettings
from worlds.published import ROWS_PER_FILE, rank

DATE = "2026-02-03"
FILES = 10


@dataclass
class Poller:
    """Reads all the time. `models` has the models of each reading, `failures` the errors that it may not have."""

    read: Callable[[], set[str]]
    may_fail: tuple[type[Exception], ...] = ()
    models: list[set[str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.models.append(self.read())
            except self.may_fail:
                continue
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")


def publish_under(pollers: Collection[Poller], run: Run, publications: int, number_of_files: int) -> None:
    """Publishes a date again and again, and removes what is replaced, while the pollers read."""
    stop = threading.Event()
    threads = [threading.Thread(target=poller.run, args=[stop]) for poller in pollers]
    for thread in threads:
        thread.start()
    for number in range(1, publications + 1):
        files.publish(rank(run, f"model {number}", files=number_of_files), RANKED)
        remove_old(run, KeepSettings())
    stop.set()
    for thread in threads:
        thread.join()


def of_version(warehouse: Path, read: Callable[[Path, list[str]], Iterable[str]]) -> Callable[[], set[str]]:
    """A reading of all tables by the pointer; checks that each has all its rows."""

    def models() -> set[str]:
        latest = json.loads((warehouse / "_latest.json").read_text())
        found = {latest["model_id"]}
        for table in latest["tables"].values():
            rows = list(read(warehouse / table["path"], [file["name"] for file in table["files"]]))
            assert len(rows) == table["rows"] == FILES * ROWS_PER_FILE, (latest["version"], len(rows))
            found |= set(rows)
        return found

    return models


def with_pyarrow(place: Path | list[str], client: FileSystem | None = None) -> list[str]:
    return pq.read_table(place, columns=["model_id"], filesystem=client)["model_id"].to_pylist()


def with_duckdb(pattern: str | list[str]) -> list[str]:
    with duckdb.connect() as connection:
        return [row[0] for row in connection.execute("SELECT model_id FROM read_parquet(?)", [pattern]).fetchall()]


@pytest.mark.parametrize("publications", [8, pytest.param(50, marks=[pytest.mark.extended, pytest.mark.faults])])
def test_polling_readers(tmp_path: Path, publications: int) -> None:
    run = Run(tmp_path / "lake", DATE)
    warehouse, table = run.lake / "warehouse", run.lake / "warehouse" / RECOMMENDATIONS
    files.publish(rank(run, "model 0", files=FILES), RANKED)
    pollers = {
        "pyarrow, pointer": Poller(of_version(warehouse, lambda folder, names: with_pyarrow(folder))),
        "duckdb, pointer": Poller(
            of_version(warehouse, lambda folder, names: with_duckdb([str(folder / name) for name in names]))
        ),
        # A folder may be replaced between its listing and the opening of its files.
        "pyarrow, folder": Poller(lambda: set(with_pyarrow(table)), (FileNotFoundError, pa.ArrowException)),
        "duckdb, folder": Poller(lambda: set(with_duckdb(f"{table}/*/*.parquet")), (duckdb.IOException,)),
    }
    publish_under(pollers.values(), run, publications, FILES)
    for name, poller in pollers.items():
        assert not poller.failures, (name, poller.failures[0])
        assert all(len(models) <= 1 for models in poller.models), name
        # With a single model read, nothing was replaced while it was read.
        assert len(set().union(*poller.models)) > 1, name
