"""Memory of this machine: the peak of a process and its descendants, and the free memory."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SECONDS_BETWEEN_SAMPLES = 0.5
# A process is measured again if its resident memory changed by more than 1 / this number of itself.
_STEPS = 100

# Names of the limit, the usage, and the page cache within the usage, in cgroups of version 2 and of version 1.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
# Version 1 writes "no limit" as a number close to 2⁶³.
_NO_LIMIT = 1 << 60


@dataclass
class PeakMemory:
    """The highest number of bytes in any sample so far."""

    bytes: int = 0
    _last: "dict[psutil.Process, _Memory]" = field(default_factory=dict, repr=False)

    def sample(self, pid: int) -> None:
        """Measures the memory of the process `pid` and its descendants now, and updates the peak."""
        self._last = {process: _measure(process, self._last.get(process)) for process in _family(pid)}
        self.bytes = max(self.bytes, sum(memory.proportional for memory in self._last.values()))


@dataclass(frozen=True)
class _Memory:
    """Bytes of one process: resident, and proportional (a page that n processes share counts 1/n for each)."""

    resident: int
    proportional: int


@contextmanager
def peak_memory(pid: int) -> Iterator[PeakMemory]:
    """Samples the process `pid` and its descendants twice a second, and at both ends, while the context is open.

    Python, the JVM and Spark's local workers are counted; executors on other machines are not.
    """
    peak = PeakMemory()
    peak.sample(pid)
    try:
        with sampling(lambda: peak.sample(pid), _SECONDS_BETWEEN_SAMPLES):
            yield peak
    finally:
        peak.sample(pid)


@contextmanager
def sampling(sample: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls `sample` every so many seconds, in a thread of its own, while the context is open."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            sample()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _measure(process: psutil.Process, last: _Memory | None) -> _Memory:
    """The memory of a process now; the `last` values if its resident memory has hardly changed.

    Reading the resident size takes microseconds. For the proportional size Linux visits all pages, which takes some 30
    ms of CPU for a JVM of 1.5 GiB. Systems without a proportional size report the unique size.
    """
    try:
        resident = process.memory_info().rss
        if last is not None and abs(resident - last.resident) * _STEPS < last.resident:
            return last
        full = process.memory_full_info()
        return _Memory(resident, getattr(full, "pss", full.uss))
    except psutil.Error:  # the process has ended, or belongs to somebody else
        return _Memory(0, 0)


def free_host_bytes() -> int:
    """Bytes that this process may still allocate: the kernel's available memory, or less if a cgroup limits it."""
    available = psutil.virtual_memory().available
    limited = cgroup_free_bytes()
    return available if limited is None else min(available, limited)


def cgroup_free_bytes(root: Path = Path("/")) -> int | None:
    """Limit minus usage of the tightest memory cgroup of this process, version 2 or 1; None without a limit.

    Page cache that the kernel can drop counts as free. psutil does not know of cgroups.
    """
    free = []
    for folder in _cgroup_folders(root):
        for limit_name, usage_name, cache_key in _CGROUP_FILES:
            limit, usage = _number(folder / limit_name), _number(folder / usage_name)
            if limit is not None and usage is not None and limit < _NO_LIMIT:
                free.append(max(0, limit - usage + _stat(folder / "memory.stat", cache_key)))
    return min(free, default=None)


def _cgroup_folders(root: Path) -> list[Path]:
    """The cgroup of this process and all above it, up to the mount; inside a container that is the process's cgroup."""
    base = root / "sys/fs/cgroup"
    own = []
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            own.append(base / path.lstrip("/"))
        elif "memory" in controllers.split(","):
            own.append(base / "memory" / path.lstrip("/"))
    above = [folder for each in own for folder in (each, *each.parents) if folder.is_relative_to(base)]
    return list(dict.fromkeys([*above, base, base / "memory"]))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" means no limit
        return None


def _stat(path: Path, key: str) -> int:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    except (OSError, ValueError):
        return 0
    return 0
