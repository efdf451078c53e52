"""Training by several processes: the same steps as a single process, the same bytes every time, and clear errors."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from kgspark.errors import StageError
from kgspark.graph.shards import read_graph
from kgspark.kge.model.two_tower import parameters_by_table
from kgspark.kge.safetensors_io import read_safetensors
from kgspark.kge.training.distributed import Part, Team
from kgspark.kge.training.local_workers import run_on_this_machine
from kgspark.kge.training.training import train
from kgspark.kge.workers import Workers
from nights import ROOT
from processes import family, left_after, listening
from worlds import long_training
from worlds.graphs import LAYOUT, RELATIONS, USERS, block_columns, settings, write_shards

pytestmark = pytest.mark.slow

QUICK = {
    "device": "cpu",
    "model": "complex",
    "epochs": 6,
    "validation": {"patience": 6},
    "schedule": "constant",
    "learning_rate": 0.02,
    "negatives": 8,
    "ema": 0.5,
    "l2": 0.001,
    "refit": "continue",
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The block world in three shards, unordered."""
    folder = tmp_path_factory.mktemp("world") / "triples"
    columns = block_columns()
    write_shards(folder, columns, np.random.default_rng(1).permutation(len(columns["head"])), 3)
    return folder


def run(folder, shards, start=run_on_this_machine, **changes):
    folder.mkdir(exist_ok=True)
    world = read_graph(shards, LAYOUT, RELATIONS)
    return train(world, settings(**QUICK | changes), folder, team=Team(shards, start, 1))


def weights(model):
    return {name: table.numpy() for name, table in parameters_by_table(model).items()}


@pytest.fixture(scope="module")
def three(tmp_path_factory, shards):
    """The results of three workers, their folder, and the addresses on which the processes listened meanwhile."""
    folder, addresses, done = tmp_path_factory.mktemp("three"), set(), threading.Event()

    def watch():
        while not done.wait(0.1):
            addresses.update(listening(set(family(psutil.Process().pid)) - before))

    before = set(family(psutil.Process().pid))  # this process of the tests may have a JVM
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return run(folder, shards, workers=3), folder, addresses
    finally:
        done.set()
        watcher.join()


def test_three_workers_take_the_steps_of_one(tmp_path, shards, three):
    one, (trained, folder, _) = run(tmp_path, shards), three
    assert [epoch.epoch for epoch in trained.history] == [1, 2, 3, 4, 5, 6]
    for own, other in zip(one.history, trained.history, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert own.ndcg == pytest.approx(other.ndcg, abs=0.05)
    assert trained.best_epoch == one.best_epoch
    for name, table in weights(one.model).items():
        assert np.abs(table - weights(trained.model)[name]).max() < 1e-3
    # The files that workers exchanged were joined and removed.
    assert not list(folder.glob(".checkpoint*"))


def test_workers_listen_on_the_loopback_device_only(three):
    assert three[2] == {"127.0.0.1"}


@pytest.fixture
def endless(tmp_path, shards):
    """A process whose two workers are in the middle of a training, and the workers."""
    command = [sys.executable, long_training.__file__, str(shards), str(tmp_path)]
    paths = (str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    metrics, until = tmp_path / "metrics.csv", time.monotonic() + 120
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as driver:
        while not (metrics.exists() and metrics.read_text().count("\n") > 5) and time.monotonic() < until:
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.1)
        yield driver, [each for each in family(driver.pid) if "spawn_main" in " ".join(each.cmdline())]
        driver.kill()


@pytest.mark.extended
def test_workers_of_a_killed_driver_end(endless):
    driver, workers = endless
    assert len(workers) == 2
    driver.kill()
    assert left_after(workers, 5) == []


@pytest.mark.extended
def test_a_worker_that_is_killed_is_one_line_and_the_other_one_ends(endless):
    driver, workers = endless
    workers[1].kill()
    last = driver.communicate(timeout=60)[1].splitlines()[-1]
    assert last.startswith("kgspark.errors.StageError: train.workers: ")
    assert left_after(workers, 5) == []


@pytest.mark.extended
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, shards, three):
    class KilledError(Exception):
        pass

    def killed(function, job):
        run_on_this_machine(function, replace(job, settings=job.settings.model_copy(update={"epochs": 4})))
        raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path, shards, killed, workers=3)
    whole, folder, _ = three
    resumed = run(tmp_path, shards, workers=3)
    assert resumed.resumed_from == 4
    files = [read_safetensors(at / "checkpoint.safetensors")[0] for at in (folder, tmp_path)]
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert (resumed.best_epoch, resumed.valid, resumed.test) == (whole.best_epoch, whole.valid, whole.test)


def test_every_triple_and_every_user_is_dealt_to_one_worker(shards):
    parts = [Part.of(LAYOUT, RELATIONS, Workers(3, rank)) for rank in range(3)]
    users = np.concatenate([part.rows[part.private] for part in parts])
    assert sorted(users) == list(range(USERS))
    whole = read_graph(shards, LAYOUT, RELATIONS)
    found = {key: set() for key in whole.triples.parts}
    for part in parts:
        for key, pairs in part.read(shards, LAYOUT, RELATIONS).triples.parts.items():
            given = set(zip(part.rows[pairs.heads].tolist(), part.rows[pairs.tails].tolist(), strict=True))
            assert not given & found[key]
            found[key] |= given
    expected = {
        key: set(zip(p.heads.tolist(), p.tails.tolist(), strict=True)) for key, p in whole.triples.parts.items()
    }
    assert found == expected


def test_settings_that_workers_cannot_share_are_refused(tmp_path, shards):
    for changes in ({"objective": "bpr"}, {"inverse_relations": True}):
        with pytest.raises(ValueError, match="workers above 1 need objective softmax and no inverse_relations"):
            settings(workers=2, **changes)
    with pytest.raises(StageError, match="50 workers cannot share so few users"):
        run(tmp_path, shards, workers=50)
    world = read_graph(shards, LAYOUT, RELATIONS)
    with pytest.raises(StageError, match="only train-embeddings can start more than one"):
        train(world, settings(workers=2), tmp_path)
