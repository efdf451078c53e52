"""The most memory that this process and all that it started held at once: Python, the JVM, and Spark's workers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class PeakMemory:
    """Bytes, as of the highest look so far; 0 where the system does not say (not Linux)."""

    bytes: int = 0

    def look(self, own: int, root: Path = Path("/proc")) -> None:
        """Takes in what the process `own` and its descendants hold now."""
        self.bytes = max(self.bytes, sum(_held(root / str(pid)) for pid in _family(own, root)))


@contextmanager
def peak_memory(own: int) -> Iterator[PeakMemory]:
    """Looks twice a second, and at both ends, while the context is open; executors on other machines are not seen.

    own  process id of this process
    """
    peak, done = PeakMemory(), threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS_BETWEEN_LOOKS):
            peak.look(own)

    peak.look(own)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak.look(own)


def _family(own: int, root: Path) -> set[int]:
    """The process and its descendants."""
    parents = {int(path.name): _parent(path) for path in root.glob("[0-9]*")}
    family, grown = {own}, True
    while grown:
        young = {pid for pid, parent in parents.items() if parent in family} - family
        family |= young
        grown = bool(young)
    return family


def _parent(process: Path) -> int:
    try:
        # pid (name) state parent ...: the name may hold blanks and brackets.
        return int((process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):  # it has ended
        return 0


def _held(process: Path) -> int:
    """Proportional set size: pages that several processes share are counted once in all."""
    try:
        for line in (process / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0
