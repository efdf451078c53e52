"""Nights for tests: from the command line, in a separate process, or as objects in the process of the tests."""

import atexit
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kgspark.files import describe_folder
from kgspark.manifests import Manifest
from kgspark.night.night import LazySession, Night
from kgspark.night.settings import NightSettings

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "tests" / "data" / "ml-latest-small"
SHARED = ROOT.parent / "shared" / "data"
DATE = "2026-01-02"


def kgspark(
    *arguments: str | Path, env: Mapping[str, str] | None = None, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Runs `kgspark ARGUMENTS` in `folder` and waits.

    With `env`, it runs in a new process. Otherwise it runs in a process that lives as long as the tests, whose JVM and
    imports are warm after the first command. The result has the whole output, also that of the JVM.
    """
    if env is None:
        return _warm_process().run(list(map(str, arguments)), folder)
    command = [sys.executable, "-m", "kgspark.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=dict(env), capture_output=True, text=True, timeout=600, check=False)


_LOOP = """
import json, os, sys
from kgspark.cli import main
for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    os.write(int(sys.argv[1]), b"%d\\n" % code)
"""


class _WarmProcess:
    """A process that reads folders and commands from its input, writes exit codes to a pipe, and prints into files."""

    def __init__(self) -> None:
        # Opened for appending, because the tests read them meanwhile; they stay open as long as the process runs.
        self._printed = [tempfile.TemporaryFile("a+b", buffering=0) for _ in range(2)]  # noqa: SIM115
        codes, theirs = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP, str(theirs)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=self._printed[0],
            stderr=self._printed[1],
            pass_fds=[theirs],
        )
        os.close(theirs)
        self._codes = os.fdopen(codes)
        atexit.register(self._process.kill)

    def run(self, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs one command, 600 seconds at most."""
        before = [stream.seek(0, os.SEEK_END) for stream in self._printed]
        limit = threading.Timer(600, self._process.kill)
        limit.start()
        self._process.stdin.write(json.dumps([str(folder), arguments]).encode() + b"\n")
        self._process.stdin.flush()
        code = self._codes.readline()
        limit.cancel()
        printed = []
        for stream, start in zip(self._printed, before, strict=True):
            stream.seek(start)
            printed.append(stream.read().decode())
        if not code:
            _warm_process.cache_clear()
            raise RuntimeError(f"kgspark {' '.join(arguments)} died or took too long:\n{printed[1][-3000:]}")
        return subprocess.CompletedProcess(arguments, int(code), *printed)


@cache
def _warm_process() -> _WarmProcess:
    return _WarmProcess()


def configuration(folder: Path, **sections: object) -> Path:
    """Writes a YAML file with the given top-level sections."""
    path = folder / "night.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"run_date": DATE, **sections}), encoding="utf-8")
    return path


def a_night(lake: Path, session: Any = None, say: Callable[[str], None] = print, **sections: object) -> Night:
    """A night in this process, with the given top-level sections; without `session` it must not need Spark."""
    given = {"lake": str(lake), "run_date": DATE, **sections}
    return Night(NightSettings.model_validate(given), say, LazySession(ExitStack(), session))


def a_small_night(
    source: Path, lake: Path, session: Any = None, say: Callable[[str], None] = print, /, **changes: object
) -> Night:
    """A night with short lists and a quick training, as that of the fixture `small_night`, with changed sections."""
    return a_night(lake, session, say, **small_sections(source) | changes)


def small_sections(source: Path) -> dict[str, object]:
    """The sections of `a_small_night`."""
    return {
        "source": {"path": str(source)},
        "train": {"dim": 8, "epochs": 2, "device": "cpu", "threads": 1},
        "recommend": {"k": 5},
        "audiences": {"k": 5},
        "publish": {"beat_popularity": False},
        "report": {"enabled": False},
    }


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The single error line of a failed command."""
    lines = [line for line in done.stderr.splitlines() if "WARNING: Using incubator modules" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("kgspark: error: ")
    return lines[0]


def describe_again(folder: Path) -> None:
    """Makes the manifest of an altered table agree with its files, as if its stage had written them."""
    manifest = Manifest.read(folder)
    assert manifest is not None
    replace(manifest, files=describe_folder(folder)).write(folder)


def table_contents(lake: Path) -> dict[str, str]:
    """The content hash of each table of the night that has one, by the table's name."""
    manifests = map(Manifest.read, sorted((lake / "runs" / DATE).iterdir()))
    return {found.table: found.content for found in manifests if found is not None and found.content is not None}


def table_bytes(lake: Path, table: str) -> list[str]:
    """SHA-256 of a published table's files, in the order of their names."""
    folder = lake / "warehouse" / table / f"ds={DATE}"
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.parquet"))]
