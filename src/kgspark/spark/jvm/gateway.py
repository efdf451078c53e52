"""Starts and ends Spark's JVM.

Its settings are in a file that only this user can read, because every user of the machine sees a command line. Its
temporary files are in scratch folders that it owns, and its standard error goes to the logger `spark.jvm`.
"""

import locale
import logging
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from py4j.java_gateway import JavaGateway
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway

from kgspark.causes import condition_in, java_error
from kgspark.errors import ResourceError
from kgspark.locks import held_locks
from kgspark.scratch import Scratch, temporary_root

_LOG = logging.getLogger("spark.jvm")
_LOCAL_DIR, _LOCAL_DIRS = "spark.local.dir", "SPARK_LOCAL_DIRS"
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
# Spark's launcher adds this module to every JVM, and no flag of Java turns the warning off.
_HARMLESS = "WARNING: Using incubator modules"
_SECONDS_TO_END = 5


def start_jvm(conf: Mapping[str, str]) -> JavaGateway:
    """A JVM with these Spark settings; ResourceError with its own words if it does not start."""
    scratches = [Scratch.new(root) for root in (temporary_root(), *_local_roots(conf))]
    folder = scratches[0].folder
    # A JVM that crashes would write its report into the working folder.
    ours = (f"-Djava.io.tmpdir={folder}", f"-XX:ErrorFile={folder}/hs_err_pid%p.log")
    options = " ".join([conf.get(_JAVA_OPTIONS, ""), *map(java_option, ours)]).strip()
    properties = folder / "spark.properties"
    _write_properties(properties, {**conf, _JAVA_OPTIONS: options})
    last: deque[str] = deque(maxlen=500)
    reading, writing = os.pipe()
    reader = threading.Thread(target=_read, args=(reading, last), daemon=True)
    reader.start()
    try:
        gateway = _launch(properties, scratches, writing)
    except PySparkRuntimeError as error:
        reader.join(_SECONDS_TO_END)
        for scratch in scratches:
            scratch.remove()
        said = "\n".join(last)
        reason = condition_in(said) or f"{java_error(said) or error}; see spark.driver_memory and spark.conf"
        raise ResourceError(f"Spark's JVM did not start: {reason}") from error
    except BaseException:  # Ctrl-C or SIGTERM: nobody has the gateway yet, with which to end the JVM
        _end_starting(folder)
        raise
    properties.unlink()
    for scratch in scratches:
        gateway.jvm.java.io.File(str(scratch.folder)).deleteOnExit()  # when it is empty: after Spark's own clearing
    return gateway


def _launch(properties: Path, scratches: list[Scratch], writing: int) -> JavaGateway:
    """The gateway of a new JVM, which writes its standard error to the descriptor `writing`; this process closes it."""
    # The JVM keeps the locks: it may work for a moment longer than a driver that was killed.
    owned = [scratch.lock for scratch in scratches] + held_locks()
    try:
        with _environment(properties, scratches):
            return launch_gateway(None, {"stderr": writing, "pass_fds": owned})
    finally:
        os.close(writing)


def _end_starting(folder: Path) -> None:
    """Ends the JVM that is starting with this folder for its temporary files, and the scripts that start it."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if child.environ().get("TMPDIR") == str(folder):
                child.kill()
                child.wait(_SECONDS_TO_END)


def end_jvm(gateway: JavaGateway) -> None:
    """Ends the JVM, whatever it is doing."""
    with suppress(subprocess.TimeoutExpired):
        gateway.proc.terminate()
        gateway.proc.wait(_SECONDS_TO_END)
        return
    gateway.proc.kill()
    gateway.proc.wait()


def exit_of(gateway: JavaGateway | None, seconds: float) -> int | None:
    """The exit code of the JVM if it ends within so many seconds; negative for the signal that killed it."""
    if gateway is None or gateway.proc is None:
        return None
    with suppress(subprocess.TimeoutExpired):
        return int(gateway.proc.wait(seconds))
    return None


def java_option(option: str) -> str:
    """One option as a word of spark.driver.extraJavaOptions, where blanks separate."""
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r'[\s"\\]', option) else option


def _local_roots(conf: Mapping[str, str]) -> list[Path]:
    """The folders that the user chose for Spark's temporary files."""
    named = os.environ.get(_LOCAL_DIRS) or conf.get(_LOCAL_DIR, "")
    return [Path(root.strip()) for root in named.split(",") if root.strip()]


def _write_properties(path: Path, conf: Mapping[str, str]) -> None:
    """The settings in the format of java.util.Properties, in UTF-8."""

    def escaped(text: str) -> str:
        text = re.sub(r"[\\ =:#!]", r"\\\g<0>", text)
        return text.replace("\n", r"\n").replace("\r", r"\r").replace("\t", r"\t")

    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.writelines(f"{escaped(key)}={escaped(value)}\n" for key, value in conf.items())


@contextmanager
def _environment(properties: Path, scratches: list[Scratch]) -> Iterator[None]:
    """The environment that the JVM and its children inherit; pyspark takes it from this process."""
    arguments = os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
    folders = [str(scratch.folder) for scratch in scratches]
    changes = {
        "PYSPARK_SUBMIT_ARGS": f"--properties-file {shlex.quote(str(properties))} --load-spark-defaults {arguments}",
        "TMPDIR": folders[0],
        _LOCAL_DIRS: ",".join(folders[1:] or folders),
    }
    if locale.nl_langinfo(locale.CODESET) != "UTF-8" and sys.getfilesystemencoding() == "utf-8":
        changes["LC_ALL"] = "C.UTF-8"  # with LC_ALL=C, Java cannot name a file beyond ASCII; Python can
    before, folder_before = {name: os.environ.get(name) for name in changes}, tempfile.tempdir
    os.environ.update(changes)
    tempfile.tempdir = folders[0]
    try:
        yield
    finally:
        tempfile.tempdir = folder_before
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _read(reading: int, last: deque[str]) -> None:
    """Logs the JVM's lines, and shows its progress bar, which ends in a carriage return, on a terminal.

    last  gets the latest lines
    """
    rest = b""
    with open(reading, "rb") as errors:
        while chunk := errors.read1(1 << 16):
            *pieces, rest = re.split(rb"(?<=[\r\n])", rest + chunk)
            for piece in pieces:
                if piece.endswith(b"\r"):
                    _show(piece)
                elif (line := piece.decode("utf-8", "replace").rstrip()) and not line.startswith(_HARMLESS):
                    last.append(line)
                    _LOG.warning("%s", line)


def _show(bar: bytes) -> None:
    if sys.stderr.isatty():
        sys.stderr.buffer.write(bar)
        sys.stderr.buffer.flush()
