"""A publication killed at any change: readers of the pointer find one whole version, and the next one repairs."""

import os
import subprocess
import sys
from pathlib import Path

from nights import ROOT


def test_a_kill_before_each_change_of_a_publication(tmp_path: Path) -> None:
    """In a process of its own, which has one thread and so may fork."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "worlds.killed_publication", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    changes = done.stdout.splitlines()
    # The copies, the version, the links, both exchanges of folders, the pointer, and the removal of the old folders.
    for event, number in (("open", 8), ("os.link", 6), ("os.rename", 3), ("ctypes.dlopen", 2), ("os.remove", 6)):
        assert sum(change.startswith(event) for change in changes) >= number, (event, changes)
