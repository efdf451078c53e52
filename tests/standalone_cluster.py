"""A real Spark standalone cluster on this machine: one master and some workers, each in its own process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

from kgspark.spark.jvm.class_archive import jvm_options

SPARK_HOME = Path(pyspark.__file__).parent
# Of every JVM of the cluster: they live for seconds only.
JAVA_OPTIONS = " ".join((os.environ["SPARK_SUBMIT_OPTS"], *jvm_options()))
_START_SECONDS = 60


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[str]:
    """Yields the master's URL once every worker has registered; stops all of them at the end."""
    environment = os.environ | {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_SCALA_VERSION": "2.13",
        "SPARK_DAEMON_JAVA_OPTS": JAVA_OPTIONS,
    }
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> Path:
            log = folder / f"{name}.log"
            command = [
                str(SPARK_HOME / "bin" / "spark-class"),
                f"org.apache.spark.deploy.{arguments[0]}",
                *arguments[1:],
            ]
            process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=log.open("wb"), stderr=subprocess.STDOUT
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return log

        master_log = start("master", "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        url = _wait_for(master_log, r"Starting Spark master at (spark://\S+)")
        logs = []
        for number in range(workers):
            # Different hosts in one network for Spark, because it never runs two copies of a task on one host at the
            # same time.
            host = f"127.0.0.{number + 1}"
            work = ("--host", host, "--webui-port", "0", "--work-dir", str(folder / f"work-{number}"))
            logs.append(start(f"worker-{number}", "worker.Worker", "-c", str(cores), "-m", memory, *work, url))
        for log in logs:
            _wait_for(log, r"(Successfully registered with master)")
        yield url


def _wait_for(log: Path, pattern: str) -> str:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        found = re.search(pattern, log.read_text(errors="replace")) if log.exists() else None
        if found:
            return found.group(1)
        time.sleep(0.2)
    raise TimeoutError(f"{log} never said {pattern!r}:\n{log.read_text(errors='replace')[-2000:]}")


def submit(
    master: str, job: Path, *arguments: str, conf: Mapping[str, str] | None = None, archive: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`spark-submit --master MASTER jobs/STAGE.py CONF ...`: executors run this Python, or the one in `archive`."""
    options = [option for key, value in (conf or {}).items() for option in ("--conf", f"{key}={value}")]
    options += ["--archives", f"{archive}#environment"] if archive else []
    command = [str(SPARK_HOME / "bin" / "spark-submit"), "--master", master, *options, str(job), *arguments]
    environment = os.environ | {
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_PYTHON": "./environment/bin/python" if archive else sys.executable,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": JAVA_OPTIONS,
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
