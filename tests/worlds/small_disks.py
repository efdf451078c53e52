"""Disks of a chosen size, in a mount namespace that only the commands of a test see."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nights import ROOT

_PATHS = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])


@dataclass(frozen=True)
class Disks:
    """A mount namespace, which lives as long as the process `pid`."""

    pid: int

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command that sees the disks."""
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--wd=.", *map(str, command)]
        env = os.environ | {"PYTHONPATH": _PATHS} | variables
        return subprocess.run(inside, env=env, capture_output=True, text=True, timeout=600, check=False)

    def mount(self, *options: str | Path) -> None:
        """`mount` with these options; skips the test where the system refuses it."""
        done = self.run("mount", *options)
        if done.returncode:
            pytest.skip(f"this system mounts no disks for a test: {done.stderr.strip()}")

    def new(self, folder: Path, size: str) -> Path:
        """An empty disk of a size such as `2m`; returns the folder as this process sees it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
        return self.seen(folder)

    def resize(self, folder: Path, free: int) -> None:
        """Leaves so many bytes free."""
        status = os.statvfs(self.seen(folder))
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        self.mount("-o", f"remount,size={used + free}", folder)

    def protect(self, folder: Path) -> None:
        """Makes a folder read-only, until it is unmounted."""
        self.mount("--bind", folder, folder)
        self.mount("-o", "remount,bind,ro", folder)

    def seen(self, folder: Path) -> Path:
        """The folder as a process outside reads it."""
        return Path(f"/proc/{self.pid}/root{folder}")


@contextmanager
def disks() -> Iterator[Disks]:
    """A namespace of the test; skips the test for a user who may not mount."""
    if os.geteuid():
        pytest.skip("only root may mount a small disk")
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE
    ) as own:
        try:
            if own.stdout is None or not own.stdout.readline():
                pytest.skip("this system has no mount namespaces for a test")
            yield Disks(own.pid)
        finally:
            own.kill()
