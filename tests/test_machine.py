"""Memory of a process and of what it starts, measured on real processes."""

import os
import subprocess
import sys
import time

import pytest

from kgspark.machine import peak_memory

MIB = 2**20


def test_what_a_child_held_for_a_moment_is_counted() -> None:
    hold = f"import time; held = bytearray({200 * MIB}); held[::4096] = b'x' * len(held[::4096]); time.sleep(2)"
    # A process of its own: the tests' one holds gigabytes, which come and go on their own.
    parent = f"import subprocess, sys; input(); subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        with peak_memory(process.pid) as peak:
            before = peak.bytes
            process.communicate(b"\n")
        assert process.returncode == 0
    assert before > 0
    assert 200 * MIB < peak.bytes < 300 * MIB


def test_what_others_hold_is_not_counted() -> None:
    hold = f"held = bytearray({100 * MIB}); held[::4096] = b'x' * len(held[::4096]); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE) as other:
        time.sleep(1)
        with peak_memory(other.pid) as its_own:
            pass
        assert 100 * MIB < its_own.bytes < 200 * MIB
        other.communicate(b"\n")


def test_an_error_passes_through() -> None:
    with pytest.raises(KeyError), peak_memory(os.getpid()):
        raise KeyError("x")
