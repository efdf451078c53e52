"""Memory of a process and its descendants, measured on real processes; limits, read from artificial cgroups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kgspark import machine
from kgspark.machine import cgroup_free_bytes, free_host_bytes, peak_memory

MIB = 2**20


def test_memory_that_a_child_used_for_a_moment_is_counted() -> None:
    hold = f"import time; held = bytearray({200 * MIB}); held[::4096] = b'x' * len(held[::4096]); time.sleep(2)"
    # A separate process, because the memory of the tests' process is large and changes at any time.
    parent = f"import subprocess, sys; input(); subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        with peak_memory(process.pid) as peak:
            before = peak.bytes
            process.communicate(b"\n")
        assert process.returncode == 0
    assert before > 0
    assert 200 * MIB < peak.bytes < 300 * MIB


def test_memory_of_other_processes_is_not_counted() -> None:
    hold = f"held = bytearray({100 * MIB}); held[::4096] = b'x' * len(held[::4096]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with peak_memory(other.pid) as its_own:
            pass
        assert 100 * MIB < its_own.bytes < 200 * MIB
        other.communicate(b"\n")


def test_an_error_passes_through() -> None:
    with pytest.raises(KeyError), peak_memory(os.getpid()):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, None),
        (
            {
                "sys/fs/cgroup/memory.max": "6000\n",
                "sys/fs/cgroup/memory.current": "5000\n",
                "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 700\n",
            },
            1700,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,memory:/job\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4000\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n",
            },
            3000,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,memory:/job\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n",
            },
            None,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "100\n",
                "sys/fs/cgroup/a/memory.max": "900\n",
                "sys/fs/cgroup/a/memory.current": "100\n",
            },
            800,
        ),
    ],
    ids=["no cgroup", "no limit", "version 2", "version 1", "version 1 without limit", "a limit above"],
)
def test_the_tightest_cgroup_limits_the_free_memory(tmp_path: Path, files: dict[str, str], free: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert cgroup_free_bytes(tmp_path) == free


def test_free_memory_is_the_machines_or_what_the_cgroup_leaves_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cgroup_free_bytes", lambda: None)
    assert free_host_bytes() > MIB
    monkeypatch.setattr(machine, "cgroup_free_bytes", lambda: 7)
    assert free_host_bytes() == 7


def test_a_process_that_has_ended_holds_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with peak_memory(ended.pid) as peak:
        pass
    assert peak.bytes == 0
