"""Training processes on this machine, with the environment that torchrun gives them.

They fork from one process that has imported torch, because the import takes longer than their work.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerContext
from typing import Any

from kgspark.errors import StageError
from kgspark.kge.training.distributed import Job


def launch(function: Callable[[Job], None], job: Job) -> None:
    """Runs `function(job)` in `job.settings.workers` processes; StageError if one of them fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(job.settings.workers)}
    environments = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(job.settings.workers)]
    processes = [_forking().Process(target=_run, args=(environment, function, job)) for environment in environments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise StageError("a worker failed; its output tells why")


@cache
def _forking() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pyarrow.dataset"])
    return context


def _run(environment: dict[str, str], function: Callable[[Job], Any], job: Job) -> None:
    os.environ.update(environment)
    function(job)
