"""The device of a training, and the settings of torch and glibc that make training repeatable and fast."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tgraphx as tgx
import torch

from kgspark.errors import ResourceError
from kgspark.kge.settings import TrainSettings

# A module with properties, which its type stubs do not show.
torch_deterministic: Any = torch.utils.deterministic

# glibc's mallopt: the numbers of two settings, and the largest value of the second one (HEAP_MAX_SIZE / 2).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _MOST_KEPT = 32 << 20, 256 << 20


def pick_device(settings: TrainSettings) -> torch.device:
    """The device that `settings.device` names; StageError where the machine does not have it."""
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ResourceError(
                f"train.device: {settings.device} was set, but {count} CUDA devices are visible; use auto"
            )
    return device


def describe_gpus() -> list[str]:
    """Name and memory of every CUDA device that torch sees."""
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [f"{each.name}, {each.total_memory / 2**30:.0f} GiB" for each in found]


def product_type(device: torch.device) -> torch.dtype:
    """The type of large matrix products: bfloat16 where the processor multiplies it faster than float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # older versions of torch do not tell
        fast = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def reproducible(settings: TrainSettings, device: torch.device) -> Iterator[None]:
    """Seeds everything, sets torch to deterministic algorithms and the wanted threads, and restores both at the end.

    On a CPU all algorithms of training are deterministic anyway, and switching them on would load torch's compiler,
    which takes a second.
    """
    # cuBLAS is only deterministic with a fixed workspace, which must be set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_freed_memory()
    threads, fill = torch.get_num_threads(), torch_deterministic.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        with tgx.reproducible(seed=settings.seed, deterministic=device.type == "cuda", warn_only=True):
            # Training reads no memory that it did not write, so filling it first would only cost time.
            torch_deterministic.fill_uninitialized_memory = False
            yield
    finally:
        torch.set_num_threads(threads)
        if device.type == "cuda":
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch_deterministic.fill_uninitialized_memory = fill


@contextmanager
def unsorted_writes() -> Iterator[None]:
    """For code that never writes or adds two values to the same index, so that the order of its writes does not matter.

    torch's deterministic algorithms would sort the indices first, which would take most of a GPU's time.
    """
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if enabled:
        torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        if enabled:
            torch.use_deterministic_algorithms(True, warn_only=warn_only)


def release_gpu_memory() -> None:
    """Frees the GPU memory that torch keeps for later use: ranking tasks run in other processes and need it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Lets glibc keep freed blocks of up to 32 MiB, 256 MiB in all, for the rest of the process; only on Linux.

    By default it returns every freed matrix to the kernel, which must clear the pages again at the next step: that
    takes a fifth of an epoch on a CPU.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
            mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
