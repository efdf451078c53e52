"""`kgspark example`: the bundled data and its configuration in a new folder, also from the wheel alone."""

import filecmp
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from kgspark import config
from kgspark.bundled import CONF, ML_LATEST_SMALL
from kgspark.datasets.example import run
from kgspark.errors import InputError
from kgspark.night.settings import NightSettings
from nights import BUNDLED, ROOT


def test_the_example_has_the_bundled_data_and_its_configuration(tmp_path: Path) -> None:
    place = tmp_path / "below" / "here"
    printed: list[str] = []
    answer = run(str(place), (), printed.append)
    settings = config.load(NightSettings, answer["configuration"])
    assert settings.source.path == str(place / "ml-latest-small")
    assert settings.lake == place / "lake"
    names = [path.name for path in BUNDLED.iterdir()]
    assert filecmp.cmpfiles(BUNDLED, place / "ml-latest-small", names, shallow=False)[0] == names
    assert f"kgspark nightly {answer['configuration']}" in printed[-1]
    assert [path.name for path in place.parent.iterdir()] == ["here"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        run(str(tmp_path), (), lambda line: None)
    assert not list(tmp_path.iterdir())


def test_nothing_is_bundled_twice() -> None:
    assert CONF.resolve() == ROOT / "conf"
    assert ML_LATEST_SMALL.resolve() == BUNDLED


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the built wheel, and with the packages of this one, outside of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    # PYTHONPATH may name the checkout, which has the metadata of this package, too.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, env=env, check=True, capture_output=True, timeout=300)
    venv.create(folder / "env", with_pip=False)
    wheel = next((folder / "dist").glob("*.whl"))
    into = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "env"),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(into, env=env, check=True, capture_output=True, timeout=300)
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    # A path in a .pth file brings the packages, but not the .pth files there: not the checkout.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def in_env(installed: Path, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    line = [str(installed / "env" / "bin" / program), *arguments]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.extended
def test_the_wheel_alone_makes_a_night(installed: Path, tmp_path: Path) -> None:
    where = in_env(installed, "python", "-c", "import kgspark; print(kgspark.__file__)", folder=tmp_path)
    assert where.stdout.startswith(str(installed))
    assert in_env(installed, "kgspark", "example", folder=tmp_path).returncode == 0
    short = ("train.epochs=2", "train.dim=16", "publish.beat_popularity=false", "spark.master=local[2]")
    done = in_env(installed, "kgspark", "nightly", "example/ml-latest-small.yaml", *short, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "example" / "lake" / "warehouse" / "recommendations").glob("ds=*/*.parquet"))
    planned = in_env(
        installed, "kgspark", "nightly", "--dry-run", "example/ml-latest-small.yaml", *short, folder=tmp_path
    )
    assert "Nothing to do" in planned.stdout


@pytest.mark.extended
def test_the_source_distribution_has_the_data(installed: Path, tmp_path: Path) -> None:
    archive = next((installed / "dist").glob("*.tar.gz"))
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True).stdout
    for name in ("py.typed", "bundled/conf/nightly.yaml", "bundled/ml-latest-small/ratings.csv", "kgspark.schema.json"):
        assert f"{name}\n" in listed
