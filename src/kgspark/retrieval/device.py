"""The choice between CUDA and FAISS for the searches of a ranking task, made where the task runs.

An executor that only ranks needs no torch, and a cluster may have GPUs on some machines only. Both searches give the
same lists, because `retrieval.scores` scores every found row again.
"""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from kgspark.errors import ResourceError
from kgspark.retrieval.index import Engine
from kgspark.retrieval.settings import Device


@dataclass(frozen=True)
class RankingDevice:
    """`recommend.device`; pickled with a task and called there.

    gpu_of_task  called in the task with the number of CUDA devices; returns the number of the device to use
    """

    name: Device
    gpu_of_task: Callable[[int], int]

    def __call__(self) -> Engine | None:
        """The search on CUDA, or None for FAISS. ResourceError for `cuda` where there is none."""
        if self.name == "cpu":
            return None
        engine = self._cuda_search()
        if engine is None and self.name == "cuda":
            raise ResourceError(
                "recommend.device: cuda was set, but a machine that ranks has no CUDA device, no free memory on it, "
                "or no torch; use auto, or install kgspark[train] and a driver there"
            )
        return engine

    def _cuda_search(self) -> Engine | None:
        """The search on this task's CUDA device; None without a device, or if too little of its memory is free."""
        if not _may_have_cuda():
            return None
        from kgspark.retrieval.cuda_search import cuda_devices

        count = cuda_devices()
        return _search_on(self.gpu_of_task(count)) if count else None


@cache
def _search_on(number: int) -> Engine | None:
    """Cached, so that the memory that earlier tasks of this process use on the device does not count as missing."""
    from kgspark.retrieval.cuda_search import MatrixSearch, has_room

    return MatrixSearch(f"cuda:{number}") if has_room(number) else None


@cache
def _may_have_cuda() -> bool:
    """True if a CUDA driver and torch are there. The driver is checked first, because importing torch takes seconds."""
    return _has_driver() and find_spec("torch") is not None


def _has_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
