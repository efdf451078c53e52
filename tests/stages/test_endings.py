"""How commands end: errors, signals, and environments that lack something. One line each, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nights import DATE, ROOT, configuration, only_line
from processes import family, left_after
from worlds import command

pytestmark = pytest.mark.slow


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A night whose source is not needed."""
    spark = {"master": "local[2]", "driver_memory": "512m"}
    return configuration(tmp_path, lake=str(tmp_path / "lake"), source={"path": "none"}, spark=spark)


def _arguments(conf: Path) -> list[str]:
    return [sys.executable, command.__file__, "work", str(conf)]


def _environment(work: str, **variables: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    return os.environ | {"WORK": work, "PYTHONPATH": paths} | variables


def _traces(conf: Path) -> list[Path]:
    return sorted((conf.parent / "lake" / "runs" / DATE).glob("trace-*.log"))


def test_an_unforeseen_error_is_one_line_and_the_rest_is_in_the_trace(conf: Path) -> None:
    done = subprocess.run(_arguments(conf), env=_environment("fail"), capture_output=True, text=True, check=False)
    (trace,) = _traces(conf)
    line = only_line(done)
    assert line.endswith(f"LookupError: a movie is missing; spark.password=***; the trace is in {trace}")
    assert done.returncode == 1
    text = trace.read_text()
    assert "spark.jvm: " in text
    assert "Executor: Exception in task" in text
    assert "worlds/command.py" in text.replace(os.sep, "/")
    assert "hunter2" not in text


@pytest.mark.extended
def test_a_command_that_ends_well_writes_no_trace(conf: Path) -> None:
    done = subprocess.run(_arguments(conf), env=_environment("count"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _traces(conf) == []


@contextmanager
def _waiting(conf: Path) -> Iterator[subprocess.Popen]:
    """A command whose Python workers wait."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(_arguments(conf), env=_environment("wait"), text=True, **pipes) as process:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if any("waiting" in trace.read_text() for trace in _traces(conf)):
                break
            time.sleep(0.1)
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("number", "says"),
    [
        pytest.param(signal.SIGTERM, "ended by SIGTERM"),
        pytest.param(signal.SIGINT, "interrupted", marks=pytest.mark.extended),
    ],
)
def test_a_signal_ends_everything_with_one_line_and_its_code(conf: Path, number: int, says: str) -> None:
    with _waiting(conf) as process:
        processes = family(process.pid)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert error == (
            f"kgspark: error: {says}; no table is half written, and the next call continues after the last complete "
            "stage\n"
        )
        assert process.returncode == 128 + number
        assert left_after(processes, 5) == []


@pytest.mark.extended
@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("ulimit -n 60", "too many open files"),
        ("ulimit -v 3000000", "memory"),
        ("export SPARK_LOCAL_DIRS=/proc/none", "/proc/none: no temporary files can be written here: "),
        ("export TMPDIR=/none", "TMPDIR: /none: no such folder, or it cannot be written; create it, or unset TMPDIR"),
    ],
)
def test_an_environment_that_lacks_something_is_one_line(conf: Path, limit: str, says: str) -> None:
    shell = ["bash", "-c", f'{limit}; exec "$@"', "bash", *_arguments(conf)]
    env = _environment("count")
    done = subprocess.run(shell, env=env, cwd=conf.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert says in only_line(done)
    assert not list(conf.parent.glob("hs_err*")), "the report of a JVM that crashed"


@pytest.mark.extended
def test_names_beyond_ascii_are_read_where_the_locale_is_c(tmp_path: Path) -> None:
    source = tmp_path / "données"
    source.mkdir()
    (source / "ratings.csv").write_text("user_id,movie_id,rating,timestamp\n1,2,4.0,1600001020\n")
    lake = tmp_path / "lake-é"
    spark = {"master": "local[1]", "driver_memory": "512m"}
    conf = configuration(tmp_path, lake=str(lake), source={"path": str(source), "format": "table"}, spark=spark)
    arguments = [sys.executable, "-m", "kgspark.cli", "clean-ratings", str(conf)]
    env = _environment("", LC_ALL="C", PYTHONIOENCODING="ascii")
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "1 kept" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["données", "lake-é", "night.yaml"]
