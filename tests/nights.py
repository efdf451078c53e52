"""Whole nights as a person starts them: a process of its own, with what it printed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "tests" / "data" / "ml-latest-small"
SHARED = ROOT.parent / "shared" / "data"
DATE = "2026-01-02"


def kgspark(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `kgspark ARGUMENTS` from the project's root and waits."""
    command = [sys.executable, "-m", "kgspark.cli", *map(str, arguments)]
    environment = dict(os.environ) if env is None else dict(env)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def several(*nights: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs commands one after the other in one process, whose JVM is warm after the first; stops at a failure."""
    script = f"import sys\nfrom kgspark.cli import main\nfor night in {nights!r}:\n    if main(night): sys.exit(1)"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def configuration(folder: Path, **sections: object) -> Path:
    """Writes a YAML file with the given top-level sections."""
    path = folder / "night.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"run_date": DATE, **sections}), encoding="utf-8")
    return path


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of error that a failed command printed."""
    lines = [line for line in done.stderr.splitlines() if "WARNING: Using incubator modules" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("kgspark: error: ")
    return lines[0]


def table_bytes(lake: Path, table: str) -> dict[str, str]:
    """SHA-256 by name of a published table's files."""
    folder = lake / "warehouse" / table / f"ds={DATE}"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
