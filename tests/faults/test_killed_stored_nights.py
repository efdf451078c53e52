"""A night in an object store that is killed between its puts ends, when it runs again, as an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faults.scale import seeds, trials
from kgspark.runs import Run
from kgspark.stores.copies import Copy, usual_folder
from kgspark.stores.store import Store
from nights import BUNDLED, DATE, ROOT, configuration, table_contents
from s3_server import S3
from worlds.stored_lakes import by_folder, by_pointer, expected_keys, keys_of

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.faults]

SECTIONS: dict[str, Any] = {
    "source": {"path": str(BUNDLED)},
    "spark": {"master": "local[2]", "conf": {"spark.sql.shuffle.partitions": 2}},
    "train": {"dim": 16, "epochs": 1},
    "recommend": {"k": 5},
    "audiences": {"k": 5},
    "publish": {"beat_popularity": False},
}
# About as many changes of the store, and moves, as the stages of a night have.
CHANGES = 150


def attempt(conf: Path, number: int) -> str:
    """The change before which the night was killed; empty if it ended before."""
    told = conf.with_name("told")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "worlds.killed_night", str(number), str(told), str(conf)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    change = told.read_text()
    assert done.returncode == (-signal.SIGKILL if change else 0), done.stderr[-3000:]
    return change


def check_readers(uri: str) -> None:
    """The pointer leads to one whole version, if there is one."""
    if Store(uri).read("warehouse/_latest.json") is not None:
        model, tables = by_pointer(uri)
        assert {row for rows in tables.values() for row in rows} == {model}


def test_a_night_is_killed_between_its_puts(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    s3.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = made(tmp_path / "undisturbed", s3.new_uri(), [])
    kills: list[str] = []
    for seed in seeds():
        rng = random.Random(seed)
        numbers = [rng.randrange(CHANGES) for _ in range(4)]
        told: list[str] = []
        assert made(tmp_path / str(seed), s3.new_uri(), numbers, told) == expected, (seed, told)
        kills += told
        with capfd.disabled():
            print(f"seed {seed}: {'; '.join(told)}: {len(kills)} of {trials(3, 40)} kills", flush=True)
        if len(kills) >= trials(3, 40):
            break


def made(folder: Path, uri: str, numbers: list[int], told: list[str] | None = None) -> tuple[Any, ...]:
    """What a night makes that is killed before these changes of its attempts, until one ends."""
    conf = configuration(folder, lake=uri, **SECTIONS)
    for number in [*numbers, 10**9]:
        change = attempt(conf, number)
        check_readers(uri)
        if not change:
            break
        if told is not None:
            told.append(change)
    run = Run(usual_folder(uri), DATE)
    Copy.of(run.lake).refresh()
    tables = tuple(path.name for path in run.folder.iterdir() if run.find_manifest(path.name) is not None)
    run.check_files(tables)
    assert keys_of(uri, "manifests") == {f"manifests/{DATE}/{table}.json" for table in tables}
    assert not keys_of(uri, "leases")
    assert expected_keys(run, tables) <= keys_of(uri)
    version = Store(uri).read("warehouse/_latest.json")[0]
    return table_contents(run.lake), sorted(tables), version, by_pointer(uri), by_folder(uri, DATE)
