"""A stage under spark-submit: its JSON object stands alone on standard output, and Spark's JVM says little."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nights import ROOT, configuration
from standalone_cluster import SPARK_HOME
from worlds.tastes import write_world

pytestmark = pytest.mark.extended


def submitted(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [SPARK_HOME / "bin" / "spark-submit", "--master", "local[1]", ROOT / "jobs" / "clean_ratings.py"]
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    env["PYTHONPATH"] = str(ROOT / "src")
    line = [*map(str, command), *arguments]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=600, check=False)


def test_json_is_json_and_the_log_is_short(tmp_path: Path) -> None:
    write_world(tmp_path / "source", groups=3, users=6, movies=6)
    conf = configuration(tmp_path, source={"path": str(tmp_path / "source")}, lake=str(tmp_path / "lake"))
    done = submitted(str(conf), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stages"][0]["stage"] == "clean-ratings"
    assert " INFO " not in done.stderr
    assert "clean-ratings" in done.stderr
    assert len(done.stderr.splitlines()) < 20, done.stderr


def test_an_error_is_json_too(tmp_path: Path) -> None:
    done = submitted(str(tmp_path / "none.yaml"), "--json")
    assert done.returncode != 0
    assert "no such configuration file" in json.loads(done.stdout)["error"]
