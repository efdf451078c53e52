"""What is in examples/: checked by the programs that read it, and run by them where they are installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kgspark.errors import AuditError, ConfigError, InputError
from nights import DATE, ROOT, configuration, small_sections
from worlds.tastes import write_world

EXAMPLES = ROOT / "examples"
FINAL = {error.code for error in (ConfigError, AuditError, InputError)}


def test_the_dockerfile_is_linted() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, EXAMPLES / "docker" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_dockerfile_copies_and_installs_exists() -> None:
    text = (EXAMPLES / "docker" / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    assert all((ROOT / name).exists() for name in copied if not name.startswith("dist/"))
    (extras,) = re.findall(r"whl\)\[(.*)\]", text)
    assert f"RUN_EXTRAS := {extras}\n" in (ROOT / "Makefile").read_text()


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    for unit in (EXAMPLES / "systemd").iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("/srv/kgspark/.venv/bin/kgspark", "/bin/true"))
    units = sorted(tmp_path.iterdir())
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if any(unit.name in line for unit in units)]
    assert about == []


def test_all_of_them_try_again_after_the_same_codes() -> None:
    service = (EXAMPLES / "systemd" / "kgspark.service").read_text()
    assert set(map(int, re.findall(r"^RestartPreventExitStatus=(.*)$", service, re.MULTILINE)[0].split())) == FINAL
    for file in ("airflow/kgspark_nightly.py", "dagster/kgspark_assets.py"):
        (line,) = re.findall(r"^FINAL = (.*)$", (EXAMPLES / file).read_text(), re.MULTILINE)
        assert set(map(int, re.findall(r"\b\d+\b(?=[,:)])", line))) == FINAL, file


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables for a scheduler that runs a small night in `tmp_path`."""
    write_world(tmp_path / "source", groups=3, users=12, movies=6)
    conf = configuration(tmp_path, lake=str(tmp_path / "lake"), **small_sections(tmp_path / "source"))
    command = tmp_path / "kgspark"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT / "src"} exec {sys.executable} -m kgspark.cli "$@"\n')
    command.chmod(0o755)
    return os.environ | {"KGSPARK_HOME": str(tmp_path), "KGSPARK_BIN": str(command), "KGSPARK_CONF": str(conf)}


def published(lake: Path) -> str:
    return str(json.loads((lake / "warehouse" / "_latest.json").read_text())["date"])


@pytest.mark.extended
def test_a_night_by_airflow(environment: dict[str, str], tmp_path: Path) -> None:
    airflow = ROOT / ".venv-airflow" / "bin" / "airflow"
    if not airflow.exists():
        pytest.skip("no index: make test-extended could not install Airflow")
    home = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}
    env = environment | home | {"AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES / "airflow")}
    for command in (["db", "migrate"], ["dags", "reserialize"], ["dags", "test", "kgspark_nightly", DATE]):
        done = subprocess.run(
            [airflow, *command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert published(tmp_path / "lake") == DATE


@pytest.mark.extended
def test_a_night_by_dagster(environment: dict[str, str], tmp_path: Path) -> None:
    dagster = ROOT / ".venv-dagster" / "bin" / "dagster"
    if not dagster.exists():
        pytest.skip("no index: make test-extended could not install Dagster")
    (tmp_path / "home").mkdir()
    env = environment | {"DAGSTER_HOME": str(tmp_path / "home"), "DAGSTER_DISABLE_TELEMETRY": "1"}
    assets = ["asset", "materialize", "--select", "*", "--partition", DATE]
    file = ["-f", EXAMPLES / "dagster" / "kgspark_assets.py"]
    done = subprocess.run(
        [dagster, *assets, *file], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert published(tmp_path / "lake") == DATE
