"""Starts Spark's JVM and hides one line of its output: "WARNING: Using incubator modules: jdk.incubator.vector".

Spark's launcher adds that module to every JVM, and no flag of Java turns the warning off. The line is of no use to a
user, and an unexplained WARNING makes a new user doubt a good night.
"""

import os
import sys
import threading

from py4j.java_gateway import JavaGateway
from pyspark import SparkConf
from pyspark.java_gateway import launch_gateway

_WARNING = b"WARNING: Using incubator modules"


def quiet_gateway(conf: SparkConf) -> JavaGateway:
    """A JVM started with `conf`, whose standard error is copied to ours without the warning."""
    reading, writing = os.pipe()
    try:
        gateway = launch_gateway(conf, {"stderr": writing})
    finally:
        os.close(writing)
        threading.Thread(target=_copy, args=(reading,), daemon=True).start()
    return gateway


def _copy(reading: int) -> None:
    """Copies whole lines until the warning was found, then any bytes at once, because a progress bar ends no line."""
    with open(reading, "rb") as errors:
        for line in errors:
            if line.startswith(_WARNING):
                break
            _write(line)
        while chunk := errors.read1(1 << 16):
            _write(chunk)


def _write(text: bytes) -> None:
    sys.stderr.buffer.write(text)
    sys.stderr.buffer.flush()
