"""Spark's JVM: no secrets in command lines, no open ports, no orphans, no leftovers, and clear errors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kgspark.scratch import Scratch
from processes import family, left_after, listening
from worlds import long_job

SECRET = "hunter2-and-more"
CONF = ("spark.hadoop.fs.s3a.secret.key=${ENV:OF_A_TEST}", "spark.hadoop.odd=a=b:c #d\\e ü")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A temporary folder with a blank in its name."""
    folder = tmp_path / "for now"
    folder.mkdir()
    return folder


def _environment(temporary: Path) -> Mapping[str, str]:
    return os.environ | {"TMPDIR": str(temporary), "OF_A_TEST": SECRET}


@pytest.fixture
def job(tmp_path: Path, temporary: Path) -> Iterator[subprocess.Popen]:
    """A process whose Spark job is in the middle of its work."""
    begun = tmp_path / "begun"
    command = [sys.executable, long_job.__file__, str(begun), *CONF]
    with subprocess.Popen(command, env=_environment(temporary), stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not begun.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert begun.exists()
        yield process
        process.kill()


def _scratches(temporary: Path) -> list[Path]:
    return list(temporary.glob("kgspark-*/*"))


def test_a_killed_driver_leaves_no_process_and_the_next_one_clears_its_files(
    job: subprocess.Popen, temporary: Path
) -> None:
    processes = family(job.pid)
    assert any("daemon" in " ".join(process.cmdline()) for process in processes), "Python workers are running"
    assert listening(processes) == {"127.0.0.1"}
    shown = " ".join(" ".join(process.cmdline()) for process in processes)
    assert SECRET not in shown
    assert [path for path in temporary.rglob("*") if SECRET in path.name or path.name == "spark.properties"] == []

    job.send_signal(signal.SIGKILL)
    assert left_after(processes, 5) == []
    assert list(temporary.iterdir()) == [temporary / f"kgspark-{os.getuid()}"], "Spark writes nothing beside it"
    Scratch.new(temporary).remove()
    assert _scratches(temporary) == []


def test_a_killed_jvm_is_one_line(job: subprocess.Popen) -> None:
    processes = family(job.pid)
    next(process for process in processes if process.name() == "java").kill()
    error = job.communicate(timeout=60)[1]
    assert "Exception occurred during processing of request" not in error, "pyspark's server prints"
    last = error.splitlines()[-1]
    assert last.startswith(
        "kgspark.errors.ResourceError: Spark's JVM ended while it was needed (killed by signal 9); run"
    )
    assert left_after(processes, 5) == []


@pytest.mark.extended
def test_an_interrupt_ends_the_jvm_and_its_workers(job: subprocess.Popen, temporary: Path) -> None:
    processes = family(job.pid)
    job.send_signal(signal.SIGINT)
    error = job.communicate(timeout=30)[1]
    assert error.splitlines()[-1] == "KeyboardInterrupt"
    assert left_after(processes, 5) == []
    Scratch.new(temporary).remove()
    assert _scratches(temporary) == []


INTERRUPTED = """
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings
with spark_session(SessionSettings(master="local[1]", driver_memory="512m"), "test"):
    try:
        raise KeyboardInterrupt
    finally:
        raise ConnectionError("what pyspark does after it, on a connection in the middle of an answer")
"""


@pytest.mark.extended
def test_an_error_that_follows_an_interrupt_does_not_hide_it() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


SESSION = """
import sys
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings
conf = dict(each.split("=", 1) for each in sys.argv[2:])
with spark_session(SessionSettings(master="local[1]", driver_memory=sys.argv[1], conf=conf), "test") as session:
    hadoop = session.sparkContext._jsc.hadoopConfiguration()
    print(hadoop.get("odd"), hadoop.get("fs.s3a.secret.key"), session.range(9).repartition(2).count())
"""


def _session(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", SESSION, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.extended
def test_a_session_that_ends_well_leaves_nothing_and_its_settings_arrive(temporary: Path) -> None:
    done = _session(_environment(temporary), "512m", *CONF)
    assert done.stdout == f"a=b:c #d\\e ü {SECRET} 9\n", done.stderr
    assert done.stderr == ""
    until = time.monotonic() + 20
    while _scratches(temporary) and time.monotonic() < until:  # the JVM ends a moment after the driver
        time.sleep(0.1)
    assert [str(path) for path in temporary.rglob("*")] == [str(temporary / f"kgspark-{os.getuid()}")]


@pytest.mark.parametrize(
    ("variable", "memory", "says"),
    [
        ("SPARK_LOCAL_DIRS", "512m", "/file/x: no temporary files can be written here: Not a directory; set TMPDIR"),
        ("TMPDIR", "512m", "TMPDIR: {}/file/x: no such folder, or it cannot be written; create it, or unset TMPDIR"),
        ("NOTHING", "900000g", "Spark's JVM did not start: "),
    ],
)
def test_a_jvm_that_cannot_start_is_one_line(tmp_path: Path, variable: str, memory: str, says: str) -> None:
    (tmp_path / "file").touch()
    done = _session(os.environ | {"TMPDIR": str(tmp_path), variable: str(tmp_path / "file" / "x")}, memory)
    assert says.format(tmp_path) in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("kgspark.errors.ResourceError: ")
