"""Starts the processes of a distributed training, through Spark's TorchDistributor."""

import io
import logging
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TypeVar

from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from kgspark.errors import StageError
from kgspark.spark.frames import task_cores
from kgspark.spark.session import local_cores

_Given = TypeVar("_Given")
# What of a failed worker's output says why, the best first: our own errors, then any other one.
_REASONS = (
    (r"kgspark: error: (.*)", "{}"),
    (
        r"No module named '?(torch|tgraphx|safetensors)\b",
        "no {} on the executors; install kgspark[executor,train] there, or set train.workers=1",
    ),
    (
        r"\[(SPARK-24819)\]",
        "the cluster has fewer task slots than that, and all workers must run at once; lower it, or give the cluster "
        "more executors or cores ({})",
    ),
    (
        r"(GPUs were unable|GPU resources were not|'spark\.task\.resource\.gpu\.amount' was unset)",
        "Spark knows no GPU for a worker; set spark.conf.spark.driver.resource.gpu.amount where Spark is local, else "
        "spark.conf.spark.task.resource.gpu.amount, and its discovery script; or train.device=cpu",
    ),
    (r"^(\w*(?:Error|Exception): .*)", "{}"),
)


@dataclass(frozen=True)
class Distributor:
    """Processes that torch.distributed connects: on this machine where Spark is local, else one a task on executors."""

    session: SparkSession
    processes: int
    gpu: bool

    @property
    def local(self) -> bool:
        """Whether the processes run on the driver's machine."""
        return bool(re.fullmatch(r"local(\[.*\])?", self.session.conf.get("spark.master") or ""))

    @property
    def threads(self) -> int:
        """CPU threads that each process may use."""
        if not self.local:
            return task_cores(self.session)
        return max(1, local_cores(self.session.conf.get("spark.master") or "") // self.processes)

    def run(self, function: Callable[[_Given], None], given: _Given) -> None:
        """Runs the importable `function` in every process; StageError with the reason where one failed."""
        told = io.StringIO()  # what processes print is copied to our standard output, which is not theirs
        try:
            distributor = TorchDistributor(num_processes=self.processes, local_mode=self.local, use_gpu=self.gpu)
            distributor.logger.setLevel(logging.WARNING)
            with redirect_stdout(told):
                distributor.run(function, given)
        except Exception as error:
            raise StageError(f"train.workers: {reason_of(f'{told.getvalue()}{error}')}") from error


def reason_of(output: str) -> str:
    """Why a worker failed, in one line, of all that it printed."""
    for pattern, wording in _REASONS:
        if found := re.findall(pattern, output, flags=re.MULTILINE):
            return wording.format(found[-1])
    return "a worker failed: " + output.strip().rpartition("\n")[2]
