"""The JVM's archive of Spark's classes, parsed and verified once, so that every later session starts seconds sooner.

It is Java's application class-data sharing (JEP 350). A session with KGSPARK_RECORD_CLASSES set writes the archive when
it ends; `make setup` does that once. Java checks an archive against its own build and against the jars, and goes on
without one that does not fit; so it never changes what a night computes.
"""

import os
import sys
from pathlib import Path

import pyspark
from py4j.java_gateway import JavaGateway

_RECORD = "KGSPARK_RECORD_CLASSES"
# An archive that does not fit is no news to whoever runs a night.
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")


def archive() -> Path:
    """Where the archive lies: in the Python environment that holds Spark's jars, and gone with it."""
    return Path(sys.prefix) / "share" / "kgspark" / f"spark-{pyspark.__version__}.jsa"


def jvm_options() -> list[str]:
    """Options that record the archive, or use it where there is one."""
    if os.environ.get(_RECORD):
        _recording().parent.mkdir(parents=True, exist_ok=True)
        return [f"-XX:ArchiveClassesAtExit={_recording()}", *_QUIET]
    return [f"-XX:SharedArchiveFile={archive()}", *_QUIET] if archive().exists() else []


def finish(gateway: JavaGateway) -> None:
    """Ends the JVM of a session that records, and waits until it has written the archive."""
    if not os.environ.get(_RECORD):
        return
    gateway.shutdown()
    gateway.proc.stdin.close()
    # Half an archive, from a disk that filled up, would crash every later start.
    if gateway.proc.wait() == 0 and _recording().exists():
        os.replace(_recording(), archive())


def _recording() -> Path:
    return archive().with_suffix(".recording")
