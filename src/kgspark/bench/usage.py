"""What a piece of work takes of the machine: peak memory, and on a GPU how busy it was."""

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter

import torch

_SAMPLE_MS = 100


@dataclass(frozen=True)
class Usage:
    """Of a piece of work on a device.

    host_peak_bytes    resident memory of the whole process at its highest; since it started, where the kernel cannot
                       count anew
    device_peak_bytes  memory that torch held on the GPU at its highest; None on a CPU
    gpu_utilisation    mean share of time, 0..1, in which a kernel ran, by nvidia-smi; None on a CPU or without it
    """

    host_peak_bytes: int
    device_peak_bytes: int | None
    gpu_utilisation: float | None


def usage_of(work: Callable[[], object], device: torch.device, at_least_seconds: float = 0.0) -> Usage:
    """Repeats `work`, at least once, until so many seconds have passed: nvidia-smi needs some to tell utilisation."""
    _forget_host_peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with _utilisation(device) as samples:
        begun = perf_counter()
        while True:
            work()
            if perf_counter() - begun >= at_least_seconds:
                break
    return Usage(
        _host_peak(),
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        statistics.fmean(samples) / 100 if samples else None,
    )


@contextmanager
def _utilisation(device: torch.device) -> Iterator[list[float]]:
    """Percents that nvidia-smi, one process for the whole while, samples; they are there when the block is left."""
    samples: list[float] = []
    if device.type != "cuda":
        yield samples
        return
    properties = torch.cuda.get_device_properties(device)
    query = [
        "nvidia-smi",
        f"--id=GPU-{properties.uuid}",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
    ]
    with TemporaryFile("w+") as answers:
        try:
            sampler = subprocess.Popen([*query, f"--loop-ms={_SAMPLE_MS}"], stdout=answers, stderr=subprocess.DEVNULL)
        except OSError:
            yield samples
            return
        try:
            yield samples
        finally:
            sampler.terminate()
            sampler.wait()
        answers.seek(0)
        samples += [float(line) for line in answers.read().split("\n")[:-1] if line.strip().isdigit()]


def _forget_host_peak() -> None:
    """Linux counts a process's peak anew after a 5 was written here."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _host_peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
