"""Starts the processes of a distributed training on a cluster, through Spark's TorchDistributor."""

import io
import logging
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TypeVar

from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from kgspark.causes import worker_error
from kgspark.errors import StageError
from kgspark.spark.frames import task_cores
from kgspark.spark.jvm.sql_parser import has_jvm
from kgspark.spark.session import local_cores
from kgspark.spark.stored import is_local

_LOG = logging.getLogger("training.workers")  # torch prints the records of its own loggers
_Argument = TypeVar("_Argument")
# Patterns in the output of a failed worker, and our wording of the reason; the first pattern that matches wins.
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
        "Spark knows no GPU for a worker; set spark.conf.spark.task.resource.gpu.amount and its discovery script, or "
        "train.device=cpu",
    ),
)


@dataclass(frozen=True)
class Distributor:
    """Processes that torch.distributed connects, one per Spark task.

    Where Spark is local, `kge.training.local_workers` starts them instead: TorchDistributor's local mode would open a
    port on all network devices.
    """

    session: SparkSession
    processes: int
    gpu: bool

    @property
    def local(self) -> bool:
        """True if Spark has no other machine than the driver's."""
        return is_local(self.session)

    @property
    def threads(self) -> int:
        """Number of CPU threads that each process may use."""
        if not self.local:
            return task_cores(self.session)
        return max(1, local_cores(self.session.conf.get("spark.master") or "") // self.processes)

    def run(self, function: Callable[[_Argument], None], argument: _Argument) -> None:
        """Runs the importable `function` in every process; StageError with the reason if one fails."""
        if not has_jvm(self.session):
            raise StageError(
                "train.workers: Spark Connect cannot start processes that find each other; set it to 1, or use "
                "spark-submit on the cluster"
            )
        printed = io.StringIO()  # TorchDistributor copies the processes' output to both
        try:
            distributor = TorchDistributor(num_processes=self.processes, local_mode=False, use_gpu=self.gpu)
            distributor.logger.setLevel(logging.WARNING)
            with redirect_stdout(printed), redirect_stderr(printed):
                distributor.run(function, argument)
        except Exception as error:
            _LOG.warning("%s", printed.getvalue())
            raise StageError(f"train.workers: {find_reason(f'{printed.getvalue()}{error}')}") from error


def find_reason(output: str) -> str:
    """The reason why a worker failed, in one line, from its whole output."""
    for pattern, wording in _REASONS:
        if found := re.findall(pattern, output, flags=re.MULTILINE):
            return wording.format(found[-1])
    return worker_error(output)
