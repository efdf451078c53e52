"""Starts Spark's JVM, and keeps from the terminal the one line that Spark's own launcher provokes on every start."""

import os
import sys
import threading

from py4j.java_gateway import JavaGateway
from pyspark import SparkConf
from pyspark.java_gateway import launch_gateway

_NOISE = b"WARNING: Using incubator modules"


def quiet_gateway(conf: SparkConf) -> JavaGateway:
    """A JVM started with `conf`, whose standard error reaches ours without the launcher's warning."""
    reading, writing = os.pipe()
    try:
        gateway = launch_gateway(conf, {"stderr": writing})
    finally:
        os.close(writing)
        threading.Thread(target=_copy, args=(reading,), daemon=True).start()
    return gateway


def _copy(reading: int) -> None:
    """Whole lines until the warning has passed, then whatever comes: progress bars end no line."""
    held = b""
    filtering = True
    while chunk := os.read(reading, 1 << 16):
        held += chunk
        while filtering and b"\n" in held:
            line, held = held.split(b"\n", 1)
            if line.startswith(_NOISE):
                filtering = False
            else:
                _write(line + b"\n")
        if not filtering:
            _write(held)
            held = b""
    _write(held)
    os.close(reading)


def _write(text: bytes) -> None:
    sys.stderr.buffer.write(text)
    sys.stderr.buffer.flush()
