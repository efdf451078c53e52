"""Use of the machine by some work: peak memory, and the utilisation of a GPU."""

import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from kgspark.machine import sampling

_SECONDS_BETWEEN_SAMPLES = 0.1


@dataclass(frozen=True)
class Usage:
    """Use of the machine by some work on a device.

    host_peak_bytes    highest resident memory of the whole process; since its start, if the kernel cannot reset it
    device_peak_bytes  highest memory that torch held on the GPU; None on a CPU
    gpu_utilisation    mean fraction of time, 0..1, in which a kernel ran; None on a CPU or without NVML
    """

    host_peak_bytes: int
    device_peak_bytes: int | None
    gpu_utilisation: float | None


def usage_of(work: Callable[[], object], device: torch.device, at_least_seconds: float = 0.0) -> Usage:
    """Repeats `work`, at least once, for `at_least_seconds`, because measuring the utilisation takes some time."""
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
def _utilisation(device: torch.device) -> Iterator[list[int]]:
    """Percents of busy time, sampled while the block runs; none on a CPU or without NVML."""
    samples: list[int] = []
    if device.type != "cuda":
        yield samples
        return

    def sample() -> None:
        with suppress(Exception):  # NVML is missing, or does not measure this device, so there is no value
            samples.append(torch.cuda.utilization(device))

    with sampling(sample, _SECONDS_BETWEEN_SAMPLES):
        yield samples


def _forget_host_peak() -> None:
    """Linux resets a process's peak when a 5 is written here."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _host_peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
