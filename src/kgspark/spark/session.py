"""The Spark session of a process: one that is there, or our own, quiet and, where Spark is local, on loopback only."""

import logging
import os
import re
import signal
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

from kgspark.errors import KgsparkError, ResourceError
from kgspark.redaction import hide, is_secret
from kgspark.spark.connect import connected, server_of
from kgspark.spark.executor_watch import executors_expected
from kgspark.spark.jvm import class_archive
from kgspark.spark.jvm.gateway import end_jvm, exit_of, java_option, start_jvm
from kgspark.spark.jvm.java import check_java
from kgspark.spark.session_settings import all_settings, defaults, set_where_possible, spark_value
from kgspark.spark.settings import SessionSettings
from kgspark.spark.stored import ACCESS

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
# On a machine with much work, a JVM that was killed may take some seconds to be seen as ended.
_SECONDS_TO_NOTICE = 20
_LOG4J = Path(__file__).with_name("log4j2.properties")


@contextmanager
def spark_session(settings: SessionSettings, app: str) -> Iterator[SparkSession]:
    """The session to work in.

    - A session that is active in this process, as in a notebook or on Databricks: it is used, and never stopped.
    - Else one on the Spark Connect server that SPARK_REMOTE or `spark.master: sc://...` names.
    - Else one that starts here and stops at the end. Under `spark-submit`, master and settings given there win.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        with borrowed(running, settings) as session:
            yield session
    elif (server := server_of(settings)) is not None:
        with connected(server, settings, app) as session:
            yield session
    else:
        with _own_session(settings, app) as session:
            yield session


@contextmanager
def borrowed(running: SparkSession, settings: SessionSettings) -> Iterator[SparkSession]:
    """Somebody else's session, with our settings while we use it. Its other jobs are never cancelled."""
    with set_where_possible(running, settings):
        yield running


@contextmanager
def _own_session(settings: SessionSettings, app: str) -> Iterator[SparkSession]:
    """ResourceError if Spark's JVM ends before its time. If the command is interrupted, the JVM and its workers end at
    once."""
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
    """ResourceError if `error` came from the end of Spark's JVM."""
    if isinstance(error, KgsparkError):
        return
    # The connection breaks a moment before the JVM can be seen to have ended.
    lost = isinstance(error, (Py4JError, ConnectionError, EOFError)) and not isinstance(error, Py4JJavaError)
    code = exit_of(gateway, _SECONDS_TO_NOTICE if lost else 0)
    if code is not None:
        why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        raise ResourceError(
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
    conf = defaults() | {"spark.app.name": app, "spark.master": settings.master, ACCESS: settings.store_access}
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
        spark_conf.set(key, spark_value(value))
        if is_secret(key):
            hide(spark_value(value))
    # A process has one JVM: a second session of the process uses the running one.
    gateway = SparkContext._gateway or start_jvm(dict(spark_conf.getAll()))
    try:
        with _own_interrupts():
            SparkContext(conf=spark_conf, gateway=gateway)
        return SparkSession.builder.getOrCreate()
    except BaseException as error:
        if _interruption(error) is not None:  # a JVM whose context is starting does not end by itself
            end_jvm(gateway)
        raise


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
        builder = builder.config(key, spark_value(value))
    return builder.getOrCreate()


def _submitted_session(settings: SessionSettings, app: str) -> SparkSession:
    # pyspark reads the environment, where spark-submit puts its own arguments.
    if _EXECUTOR_PYTHON in settings.conf:
        os.environ.setdefault("PYSPARK_PYTHON", settings.conf[_EXECUTOR_PYTHON])
    SparkContext._ensure_initialized()
    _warn_only(SparkContext._gateway)
    given = {key for key, _ in SparkConf().getAll()}
    builder = SparkSession.builder.appName(app)
    for key, value in all_settings(settings).items():
        if key not in given:
            builder = builder.config(key, value)
    return builder.getOrCreate()


def _warn_only(gateway: JavaGateway) -> None:
    """Gives the JVM of spark-submit our log, without hundreds of lines of progress, unless its user has set one up."""
    jvm: Any = gateway.jvm
    set_up = [jvm.java.lang.System.getProperty(key) for key in ("log4j2.configurationFile", "log4j.configurationFile")]
    folders = [os.environ.get("SPARK_CONF_DIR"), f"{os.environ.get('SPARK_HOME', '')}/conf"]
    files = [Path(folder) / "log4j2.properties" for folder in folders if folder]
    if any(set_up) or any(file.exists() for file in files):
        return
    with suppress(Py4JError):  # another version of Spark: then it says more than we want
        # Spark sets up its own log with the first class that logs, and does so once. SparkConf is one of these classes.
        jvm.org.apache.spark.SparkConf().initializeLogIfNecessary(False)
        uri = jvm.java.net.URI.create(_LOG4J.as_uri())
        jvm.org.apache.logging.log4j.core.config.Configurator.reconfigure(uri)


def local_cores(master: str) -> int:
    """Number of cores of a `local[...]` master; 1 for plain `local`."""
    found = re.match(r"local(?:-cluster)?\[([0-9*]+)", master)
    if not found:
        return 1
    return usable_cores() if found.group(1) == "*" else int(found.group(1))


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0))
