"""The JVM's archive of Spark's classes, parsed and verified once, so that every later session starts faster.

This is Java's application class-data sharing (JEP 350). A session with KGSPARK_RECORD_CLASSES set writes the archive at
its end; `make setup` does that once. Java checks the archive against its own build and the jars, and ignores one that
does not fit; so the archive never changes the result of a night.
"""

import os
import sys
from pathlib import Path

import pyspark
from py4j.java_gateway import JavaGateway

_RECORD = "KGSPARK_RECORD_CLASSES"
# No messages about an archive that does not fit, because a user need not do anything about it.
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")


def archive() -> Path:
    """Path of the archive: in the Python environment with Spark's jars, so that both are deleted together."""
    return Path(sys.prefix) / "share" / "kgspark" / f"spark-{pyspark.__version__}.jsa"


def jvm_options() -> list[str]:
    """Options that record the archive, or use it if there is one."""
    if os.environ.get(_RECORD):
        _recording().parent.mkdir(parents=True, exist_ok=True)
        return [f"-XX:ArchiveClassesAtExit={_recording()}", *_QUIET]
    return [f"-XX:SharedArchiveFile={archive()}", *_QUIET] if archive().exists() else []


def finish(gateway: JavaGateway) -> None:
    """Ends the JVM of a session that records, and waits for the archive."""
    if not os.environ.get(_RECORD):
        return
    gateway.shutdown()
    gateway.proc.stdin.close()
    # An incomplete archive (after a full disk, for example) would crash every later start.
    if gateway.proc.wait() == 0 and _recording().exists():
        os.replace(_recording(), archive())


def _recording() -> Path:
    return archive().with_suffix(".recording")
