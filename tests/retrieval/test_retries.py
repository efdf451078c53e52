"""If a ranking task dies, or a second copy of it is faster, the files are those of an undisturbed task."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kgspark.retrieval.published_files import discard_partial
from standalone_cluster import standalone_cluster
from worlds import retried_ranking
from worlds.rankings import random_world
from worlds.streams import PER_FILE, USERS, save, stream, written


@pytest.mark.extended
def test_died_and_outrun_tasks_write_the_same_files(tmp_path: Path) -> None:
    world = random_world("l2", 7, users=USERS, k=9)
    ids = save(world, tmp_path / "space")
    table = stream(world.seen, ids["queries"])
    pq.write_table(table, tmp_path / "stream.parquet")
    (tmp_path / "out").mkdir()
    program = [sys.executable, retried_ranking.__file__]
    arguments = [str(tmp_path / name) for name in ("space", "stream.parquet", "out")] + [str(USERS), str(PER_FILE)]
    with standalone_cluster(tmp_path) as master:
        begun = time.monotonic()
        done = subprocess.run([*program, master, *arguments], capture_output=True, text=True, timeout=300, check=False)
        seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stderr[-3000:]
    assert seconds < retried_ranking.HANGS_SECONDS
    (tmp_path / "calm").mkdir()
    task = retried_ranking.calm_task(str(tmp_path / "space"), str(tmp_path / "calm"), USERS, PER_FILE)
    calm = written(table, task, 50)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told == [{name: file[name] for name in ("name", "sha256")} for file in calm]
    assert len(list((tmp_path / "out").glob(".partial-*"))) == 2  # of the task that died, and of the task that hung
    discard_partial(tmp_path / "out")
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").iterdir()}
    assert found == {file["name"]: file["sha256"] for file in calm}
