"""Starts the processes of a distributed training on this machine, without a door for others.

They find each other through a file that only this user can read, and their connections are on the loopback device.
"""

import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import torch

from kgspark.causes import worker_error
from kgspark.errors import ResourceError, StageError
from kgspark.kge.training.distributed import Job
from kgspark.scratch import Scratch, temporary_root

_LOG = logging.getLogger("training.workers")  # torch prints the records of its own loggers


def run_on_this_machine(function: Callable[[Job], None], job: Job) -> None:
    """Runs the importable `function` in `job.settings.workers` processes; StageError with the reason if one fails.

    All processes have ended when it returns or raises.
    """
    workers = job.settings.workers
    if job.gpu and torch.cuda.device_count() < workers:
        raise StageError(
            f"train.workers: {workers} workers on this machine need as many GPUs, found {torch.cuda.device_count()}; "
            "lower it, or set train.device=cpu"
        )
    scratch = Scratch.new(temporary_root())
    logs = [scratch.folder / f"worker-{rank}.log" for rank in range(workers)]
    job = replace(job, meeting=scratch.folder / "meeting")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_begin, args=(function, job, rank, log), daemon=True) for rank, log in enumerate(logs)
    ]
    try:
        for process in processes:
            process.start()
        failed = _first_failure(processes)
        if failed is not None:
            code = processes[failed].exitcode or 0
            told = "".join(log.read_text(errors="replace") for log in (*logs, logs[failed]) if log.exists())
            _LOG.warning("%s", told)
            killed = f"a worker was killed by signal {-code}; if memory ran out, lower train.workers or train.dim"
            raise (
                ResourceError(f"train.workers: {killed}")
                if code < 0
                else StageError(f"train.workers: {worker_error(told)}")
            )
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()
        scratch.remove()


def _first_failure(processes: Sequence[BaseProcess]) -> int | None:
    """Waits until all processes have ended well, or one has not; returns its position."""
    running = set(range(len(processes)))
    while running:
        connection.wait([processes[position].sentinel for position in running])
        for position in [position for position in running if not processes[position].is_alive()]:
            if processes[position].exitcode:
                return position
            running.remove(position)
    return None


def _begin(function: Callable[[Job], None], job: Job, rank: int, log: Path) -> None:
    """The start of a worker: its output goes to `log`, and torch.distributed learns its rank and the device."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    loopback = _loopback_device()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(job.settings.workers),
        GLOO_SOCKET_IFNAME=loopback,
        NCCL_SOCKET_IFNAME=loopback,
    )
    function(job)


def _loopback_device() -> str:
    """The name of the network device with 127.0.0.1: lo on Linux, lo0 on a Mac."""
    devices = psutil.net_if_addrs().items()
    return next(name for name, addresses in devices if any(address.address == "127.0.0.1" for address in addresses))
