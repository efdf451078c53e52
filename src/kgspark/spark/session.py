"""The one Spark session of a process: quiet, on the loopback where Spark is local, and checked for Java first."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from kgspark.errors import StageError
from kgspark.spark.settings import SessionSettings

JAVA_NEEDED = 17
_LOG4J = Path(__file__).with_name("log4j2.properties")


@contextmanager
def spark_session(settings: SessionSettings, app: str) -> Iterator[SparkSession]:
    """Starts the session, and stops it at the end. Under `spark-submit` the submitted master and settings win."""
    submitted = "SPARK_ENV_LOADED" in os.environ or "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        check_java()
    session = _builder(settings, app, submitted).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()


def _builder(settings: SessionSettings, app: str, submitted: bool) -> SparkSession.Builder:
    builder = SparkSession.builder.appName(app)
    for key, value in {**_defaults(settings.master), **settings.conf}.items():
        builder = builder.config(key, str(value).lower() if isinstance(value, bool) else str(value))
    if submitted:
        return builder
    # Executors must run this very Python, whatever `python3` means on their PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    java_options = f"-Dlog4j2.configurationFile={_LOG4J.as_uri()} -XX:+UseParallelGC"
    return (
        builder.master(settings.master)
        .config("spark.driver.memory", settings.driver_memory)
        .config("spark.driver.extraJavaOptions", java_options)
    )


def _defaults(master: str) -> dict[str, object]:
    defaults: dict[str, object] = {
        "spark.ui.enabled": False,
        "spark.ui.showConsoleProgress": sys.stderr.isatty(),
        "spark.sql.session.timeZone": "UTC",
        # Timestamps, casts and overflows mean the same everywhere; bad values are met with try_cast.
        "spark.sql.ansi.enabled": True,
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.execution.arrow.maxRecordsPerBatch": 100_000,
        # A warehouse folder in the working directory would surprise whoever started the night.
        "spark.sql.catalogImplementation": "in-memory",
    }
    if master.startswith("local"):
        defaults |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        defaults |= {"spark.sql.shuffle.partitions": max(4, 2 * local_cores(master))}
    return defaults


def local_cores(master: str) -> int:
    """Cores of a `local[...]` master; 1 for plain `local`."""
    found = re.match(r"local(?:-cluster)?\[([0-9*]+)", master)
    if not found:
        return 1
    return len(os.sched_getaffinity(0)) if found.group(1) == "*" else int(found.group(1))


def check_java() -> None:
    """Raises StageError with what to install when there is no Java that Spark 4 runs on."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = f"Spark needs Java {JAVA_NEEDED} or later; install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME"
    if java is None:
        raise StageError(f"no java on the PATH; {advice}")
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        raise StageError(f"{java}: does not start; {advice}") from None
    found = re.search(r'version "(\d+)', answer)
    if not found or int(found.group(1)) < JAVA_NEEDED:
        first = answer.splitlines()[0] if answer else "no version"
        raise StageError(f"{java}: {first}; {advice}")
