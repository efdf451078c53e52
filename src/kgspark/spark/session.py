"""The only Spark session of a process: quiet, on the loopback device if Spark is local, after a check for Java."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyspark
from py4j.java_gateway import JavaGateway
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from kgspark.errors import KgsparkError, StageError
from kgspark.redaction import hide, is_secret
from kgspark.spark.executor_watch import executors_expected
from kgspark.spark.jvm import class_archive
from kgspark.spark.jvm.gateway import end_jvm, exit_of, java_option, start_jvm
from kgspark.spark.settings import SessionSettings

JAVA_NEEDED = 17
_LOG = logging.getLogger("spark.jvm")
_EXECUTOR_PYTHON = "spark.pyspark.python"
# pyspark logs every error of an expression as a page of JSON, and also raises it; we print it in one line.
for _logger in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
    logging.getLogger(_logger).disabled = True
# A night runs much code only once or twice. With Java's defaults, the optimising compiler takes a third of all CPU time
# for code that runs no more; so it waits five times as long as usual. Important loops are still compiled within
# seconds.
_JVM_OPTIONS = (
    "-XX:+UseParallelGC",
    "-XX:MetaspaceSize=256m",  # below this size, Spark's classes alone would trigger four full collections
    "-XX:Tier4InvocationThreshold=25000",
    "-XX:Tier4MinInvocationThreshold=3000",
    "-XX:Tier4CompileThreshold=75000",
    "-XX:Tier4BackEdgeThreshold=200000",
)
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
_SECONDS_TO_NOTICE = 5
_LOG4J = Path(__file__).with_name("log4j2.properties")


@contextmanager
def spark_session(settings: SessionSettings, app: str) -> Iterator[SparkSession]:
    """Starts the session, and stops it at the end. Under `spark-submit`, master and settings given there win.

    StageError if Spark's JVM ends before its time. If the command is interrupted, the JVM and its workers end at once.
    """
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    session = _submitted_session(settings, app) if submitted else _start_session(settings, app)
    gateway = SparkContext._gateway
    _log_broken_connections(session.sparkContext)
    try:
        with executors_expected(session, settings.executor_wait):
            yield session
    except BaseException as error:
        if (interrupt := _interruption(error)) is not None:
            if not submitted:  # Spark may be in the middle of a job, and the connection in the middle of an answer
                end_jvm(gateway)
            raise interrupt from None
        _check_jvm(gateway, error)
        _stop(session)
        raise
    else:
        session.stop()
        if not submitted:
            class_archive.finish(gateway)


def _log_broken_connections(context: SparkContext) -> None:
    """Logs the stacks of pyspark's own server, which would print them when the JVM ends."""

    def log(request: Any, address: Any) -> None:
        _LOG.warning("a connection of Spark's JVM broke", exc_info=True)

    vars(context._accumulatorServer)["handle_error"] = log


def _interruption(error: BaseException) -> BaseException | None:
    """Ctrl-C or the like, also if an error of the broken connection to the JVM has followed it."""
    current: BaseException | None = error
    while isinstance(current, Exception):
        current = current.__context__
    return current


def _check_jvm(gateway: JavaGateway, error: BaseException) -> None:
    """StageError if `error` came from the end of Spark's JVM."""
    if isinstance(error, KgsparkError):
        return
    # The connection breaks a moment before the JVM can be seen to have ended.
    lost = isinstance(error, (Py4JError, ConnectionError, EOFError)) and not isinstance(error, Py4JJavaError)
    code = exit_of(gateway, _SECONDS_TO_NOTICE if lost else 0)
    if code is not None:
        why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        raise StageError(
            f"Spark's JVM ended while it was needed ({why}); run the command again; if memory ran out, change "
            "spark.driver_memory"
        ) from error


def _stop(session: SparkSession) -> None:
    """Stops the session after an error, which an error of a broken session must not hide."""
    with suppress(Py4JError, ConnectionError):
        session.stop()


def _start_session(settings: SessionSettings, app: str) -> SparkSession:
    check_java()
    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
    # By default executors must run this same Python, not any `python3` on their PATH.
    os.environ.setdefault("PYSPARK_PYTHON", settings.conf.get(_EXECUTOR_PYTHON, sys.executable))
    conf = _defaults() | {"spark.app.name": app, "spark.master": settings.master}
    if settings.master.startswith("local"):
        conf |= {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": max(2, local_cores(settings.master)),
        }
    jvm = [f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}", *_JVM_OPTIONS, *class_archive.jvm_options()]
    conf |= {"spark.driver.memory": settings.driver_memory, _JAVA_OPTIONS: " ".join(map(java_option, jvm))}
    conf |= settings.resolved_conf()
    spark_conf = SparkConf()
    for key, value in conf.items():
        spark_conf.set(key, _spark_value(value))
        if is_secret(key):
            hide(_spark_value(value))
    # A process has one JVM: a second session of the process uses the running one.
    gateway = SparkContext._gateway or start_jvm(dict(spark_conf.getAll()))
    with _own_interrupts():
        SparkContext(conf=spark_conf, gateway=gateway)
    return SparkSession.builder.getOrCreate()


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Keeps Python's handler of Ctrl-C: Spark's own asks the JVM in the middle of an answer, and may wait forever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def plain_session(master: str) -> SparkSession:
    """Spark for the measurement of a peer: with the settings that every guide recommends for one machine, no more."""
    settings = {
        "spark.driver.memory": "4g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": max(2, local_cores(master)),
        "spark.ui.enabled": False,
    }
    builder = SparkSession.builder.master(master)
    for key, value in settings.items():
        builder = builder.config(key, _spark_value(value))
    return builder.getOrCreate()


def _submitted_session(settings: SessionSettings, app: str) -> SparkSession:
    # pyspark reads the environment, where spark-submit puts its own arguments.
    if _EXECUTOR_PYTHON in settings.conf:
        os.environ.setdefault("PYSPARK_PYTHON", settings.conf[_EXECUTOR_PYTHON])
    SparkContext._ensure_initialized()
    given = {key for key, _ in SparkConf().getAll()}
    builder = SparkSession.builder.appName(app)
    for key, value in (_defaults() | settings.resolved_conf()).items():
        if is_secret(key):
            hide(_spark_value(value))
        if key not in given:
            builder = builder.config(key, _spark_value(value))
    return builder.getOrCreate()


def _spark_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _defaults() -> dict[str, object]:
    """Settings of every session; the settings of a single session override them."""
    return {
        "spark.ui.enabled": False,
        "spark.ui.showConsoleProgress": sys.stderr.isatty(),
        "spark.sql.session.timeZone": "UTC",
        # Rows that are partitioned by one key of a join need no further shuffle by all of its keys.
        "spark.sql.requireAllClusterKeysForCoPartition": False,
        # Casts and overflows are errors in every Spark version; bad values are read with try_cast.
        "spark.sql.ansi.enabled": True,
        "spark.sql.parquet.compression.codec": "zstd",
        # Few ratings share a second: a dictionary of timestamps would be built, found too large, and dropped.
        "spark.hadoop.parquet.enable.dictionary#timestamp": False,
        "spark.sql.execution.arrow.maxRecordsPerBatch": 100_000,
        "spark.executorEnv.GOMP_SPINCOUNT": "5000",
        # No metastore: it would appear as a folder in the working directory.
        "spark.sql.catalogImplementation": "in-memory",
        # The driver lists the files of a source itself. Spark would start a job with one task per file for it.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": 1_000_000,
        # Times in nanoseconds, as pandas writes them, are read as numbers instead of being an error.
        "spark.sql.legacy.parquet.nanosAsLong": True,
    }


def local_cores(master: str) -> int:
    """Number of cores of a `local[...]` master; 1 for plain `local`."""
    found = re.match(r"local(?:-cluster)?\[([0-9*]+)", master)
    if not found:
        return 1
    return usable_cores() if found.group(1) == "*" else int(found.group(1))


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def check_java() -> None:
    """Raises StageError with the package to install if there is no Java that Spark 4 can use."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = f"Spark needs Java {JAVA_NEEDED} or later; install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME"
    if java is None:
        raise StageError(f"no java on the PATH; {advice}")
    try:
        version = _java_version(Path(java))
    except (OSError, subprocess.SubprocessError):
        raise StageError(f"{java}: does not start; {advice}") from None
    major = re.match(r"\d+", version)
    if not major or int(major.group()) < JAVA_NEEDED:
        raise StageError(f"{java}: Java {version or 'of no version'}; {advice}")


def _java_version(java: Path) -> str:
    """From the file `release` of the Java installation, or else from Java itself, which takes a while to start."""
    release = java.resolve(strict=True).parents[1] / "release"
    if release.is_file():
        found = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found.group(1)
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    found = re.search(r'version "([^"]+)"', answer)
    return found.group(1) if found else ""
