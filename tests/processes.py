"""Processes of tests: whether they still run, and what they listen on."""

import time
from collections.abc import Iterable

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    process = psutil.Process(pid)
    return running([process, *process.children(recursive=True)])


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended. A zombie has, although in a container nobody may collect it."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def left_after(processes: Iterable[psutil.Process], seconds: float) -> list[list[str]]:
    """The command lines of those that still run after so many seconds; returns earlier if all have ended."""
    until = time.monotonic() + seconds
    left = running(processes)
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = running(left)
    return [process.cmdline()[:6] for process in left]


def listening(processes: Iterable[psutil.Process]) -> set[str]:
    """The addresses on which they listen."""
    found = set()
    for process in running(processes):
        try:
            connections = process.net_connections()
        except psutil.Error:
            continue
        found |= {each.laddr.ip.removeprefix("::ffff:") for each in connections if each.status == psutil.CONN_LISTEN}
    return found
