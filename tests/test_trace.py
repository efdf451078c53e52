"""The trace of a command: where it goes, what it says, and that it never fails a command."""

import logging
import re
import warnings
from pathlib import Path

import pytest

from kgspark.cli.trace import VARIABLE, tracing

_LIBRARY = logging.getLogger("a.library")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this process."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_without_anything_to_say_there_is_no_file(temporary: Path) -> None:
    with tracing() as trace:
        _LIBRARY.info("all is well")
    assert trace.place == ""
    assert list(temporary.iterdir()) == []


def test_records_and_warnings_go_to_the_night_once_there_is_one(temporary: Path) -> None:
    night = temporary / "night"
    night.mkdir()
    with tracing() as trace:
        trace.folder = night
        _LIBRARY.warning("fs.s3a.secret.key=%s", "hunter2")
        warnings.warn("an old function", stacklevel=1)
    (file,) = night.iterdir()
    assert trace.place == f"in {file}"
    assert re.fullmatch(r"trace-\d{8}-\d{6}-\d+\.log", file.name)
    text = file.read_text()
    assert "a.library: fs.s3a.secret.key=***" in text
    assert "an old function" in text


@pytest.mark.parametrize("night", ["/dev/full/x", "/proc/none", None])
def test_another_place_is_taken_where_the_night_cannot_be_written(temporary: Path, night: str | None) -> None:
    with tracing() as trace:
        trace.folder = night and Path(night)
        _LIBRARY.warning("this")
    (file,) = temporary.iterdir()
    assert trace.place == f"in {file}"
    assert "this" in file.read_text()


def test_a_place_of_ones_own(temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv(VARIABLE, str(temporary / "my.log"))
    with tracing():
        _LIBRARY.warning("in my file")
    assert "in my file" in (temporary / "my.log").read_text()
    monkeypatch.setenv(VARIABLE, "1")
    with tracing() as trace:
        _LIBRARY.warning("on the screen")
    assert "on the screen" in capsys.readouterr().err
    assert trace.place == "on standard error"


@pytest.mark.parametrize("chosen", ["/none/x.log", "/dev/full"])
def test_a_trace_that_cannot_be_written_fails_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setenv(VARIABLE, chosen)
    with tracing() as trace:
        _LIBRARY.warning("nowhere")
    assert trace.place == ""
