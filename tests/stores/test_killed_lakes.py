"""A lake on an object store after a kill at any change: readers find whole tables, and the next run repairs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.scale import trials
from nights import ROOT
from s3_server import S3


@pytest.mark.faults
@pytest.mark.parametrize(
    ("what", "least"),
    [
        # Files, manifests, the lease and its checks; the removal of replaced files and of the lease; moves of the copy.
        ("commit", {"store.put": 2 + 2 + 3, "store.delete": 2 + 1, "os.rename": 2 + 2}),
        # Files of the version and of the date; marks, description, pointers, the lease and its checks; removals.
        ("publish", {"store.copy": 2 + 2, "store.put": 2 + 2 + 1 + 2 + 1 + 6, "store.delete": 2 + 1}),
    ],
)
def test_a_kill_before_each_change(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, least: dict[str, int]
) -> None:
    s3.use(monkeypatch)
    every = trials(10, 1)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "worlds.killed_stored_lake", s3.new_uri(), str(tmp_path), what, str(every)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    changes = done.stdout.splitlines()
    for event, number in least.items():
        found = sum(change.startswith(event) for change in changes)
        assert found >= number // every - 1, (event, changes)
