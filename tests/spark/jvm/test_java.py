"""The error for a user who has no Java, or a Java that is too old."""

import stat
from pathlib import Path

import pytest

from kgspark.errors import StageError
from kgspark.spark.jvm.java import check_java

ADVICE = "Spark needs Java 17 or later; install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME"


def _java(folder: Path, script: str, release: str | None = None) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    if release is not None:
        (folder / "release").write_text(release)
    return folder


WRONG = [
    pytest.param("echo 'openjdk version \"1.8.0_392\"' >&2", None, "Java 1.8.0_392; ", id="it says that it is 8"),
    pytest.param("exit 1", 'IMPLEMENTOR="x"\nJAVA_VERSION="11.0.2"\n', "Java 11.0.2; ", id="its release file says 11"),
    pytest.param("exit 1", None, "does not start; ", id="it fails"),
    pytest.param("echo hello >&2", None, "Java of no version; ", id="it says something else"),
]


@pytest.mark.parametrize(("script", "release", "reason"), WRONG)
def test_a_java_that_spark_cannot_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, release: str | None, reason: str
) -> None:
    home = _java(tmp_path / "jdk", script, release)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(StageError) as caught:
        check_java()
    assert str(caught.value) == f"{home}/bin/java: {reason}{ADVICE}"


def test_a_home_without_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StageError, match="/bin/java: does not start; Spark needs Java 17"):
        check_java()


def test_a_good_java_is_taken_by_its_release_or_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "a", "exit 1", 'JAVA_VERSION="21"\n')))
    check_java()
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "b", "echo 'openjdk version \"17.0.9\"' >&2")))
    check_java()
