"""What a night needs of the machine: Python, Java, memory, packages, a GPU if there is one, temporary files."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from kgspark.extras import extras, is_installed, missing_packages
from kgspark.machine import free_host_bytes
from kgspark.manifests import package_versions
from kgspark.scratch import temporary_root
from kgspark.spark.jvm.java import check_java
from kgspark.tools.health.checks import Check, checked

_GIB = 1 << 30
# A night on the bundled data takes some 3 GiB of memory.
_LEAST_MEMORY, _LEAST_DISK = 3 * _GIB, 2 * _GIB
_PYTHON = (3, 11)
# Every night imports what these extras install.
_NEEDED = ("spark", "train", "retrieve")
_SHOWN = ("pyspark", "torch", "tgraphx", "faiss-cpu", "numpy", "pyarrow", "pandas")
# What the other extras are for.
_FOR = {
    "report": "progress bars",
    "connect": "Spark Connect",
    "store": "files and lakes in object stores",
    "delta": "publish.targets: delta",
    "iceberg": "publish.targets: iceberg",
    "postgres": "publish.targets: postgres",
    "observe": "events of OpenLineage, a file for Prometheus",
    "tune": "kgspark tune",
    "bench": "kgspark bench, and the baselines implicit-als and implicit-bpr",
    "fetch": "kgspark fetch",
}


def machine_checks() -> Iterator[Check]:
    """The checks that need no configuration, one after the other."""
    yield _python()
    yield from checked("Java", lambda: Check("Java", "ok", check_java()))
    yield _memory()
    yield from _packages()
    yield from checked("GPU", _gpu)
    yield from checked("temporary files", lambda: free_disk("temporary files", temporary_root()))


def free_disk(name: str, folder: Path, least: int = _LEAST_DISK) -> Check:
    """The free space of the disk of a folder, which need not exist yet, and the right to write there."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return Check(name, "wrong", f"{there} is a file; expected a folder", "name another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            name, "wrong", f"{there} cannot be written by this user", f"name another folder, or run: chmod u+w {there}"
        )
    free = shutil.disk_usage(there).free
    if free < least:
        found = f"{_gib(free)} free in {there}; at least {_gib(least)} are needed"
        return Check(name, "wrong", found, "free some, or name a folder on a larger disk")
    return Check(name, "ok", f"{there}, {_gib(free)} free")


def _python() -> Check:
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < _PYTHON:
        return Check("Python", "wrong", found, "use Python 3.11 or newer")
    return Check("Python", "ok", found)


def _memory() -> Check:
    free, cores = free_host_bytes(), len(os.sched_getaffinity(0))
    found = f"{_gib(free)} free, {cores} {'core' if cores == 1 else 'cores'}"
    if free < _LEAST_MEMORY:
        return Check("memory", "wrong", f"{found}; a small night takes {_gib(_LEAST_MEMORY)}", "close other programs")
    return Check("memory", "ok", found)


def _packages() -> Iterator[Check]:
    if not extras():
        yield Check(
            "packages", "note", "kgspark is not installed, so what its extras need is not known", "pip install -e ."
        )
        return
    for extra in _NEEDED:
        if missing := missing_packages(extra):
            remedy = f"pip install 'kgspark[{extra}]'"
            yield Check("packages", "wrong", f"{', '.join(missing)} missing, which every night needs", remedy)
    versions = ", ".join(f"{name} {version}" for name, version in package_versions(_SHOWN).items())
    yield Check("packages", "ok", versions or "none of the engines")
    for extra, use in _FOR.items():
        if missing := missing_packages(extra):
            yield Check("extras", "note", f"for {use}: {', '.join(missing)} missing", f"pip install 'kgspark[{extra}]'")


def _gpu() -> Check:
    if not (is_installed("torch") and is_installed("tgraphx")):
        return Check("GPU", "note", "not looked for, because torch or tgraphx is missing")
    from kgspark.kge.device import describe_gpus

    found = describe_gpus()
    if not found:
        return Check("GPU", "note", "torch sees no CUDA device; training runs on the CPU")
    return Check("GPU", "ok", "; ".join(found))


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
