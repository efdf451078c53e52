"""A new benchmark needs a file and a line: here this file, and `monkeypatch.setitem` for the line."""

import json
import subprocess
import sys

import pytest
from pydantic import Field

from kgspark import cli
from kgspark.bench import run
from kgspark.bench.common import Row, Say
from kgspark.config import Settings
from kgspark.errors import ResourceError


class ToySettings(Settings):
    systems: tuple[str, ...] = Field(("ours",), description="names of the systems")


SETTINGS = ToySettings


def run_toy(settings: ToySettings, say: Say) -> Row:
    say(f"{len(settings.systems)} systems")
    return {"rows": [{"system": name, "seconds": 1.0} for name in settings.systems]}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("kgspark.bench.lists.toy")
    module.SETTINGS, module.run = ToySettings, run_toy
    monkeypatch.setitem(sys.modules, "kgspark.bench.lists.toy", module)
    monkeypatch.setitem(run.BENCHES, "toy", run.Benchmark("lists", "for a test"))


@pytest.mark.usefixtures("toy")
def test_a_new_benchmark_runs_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "toy", "--json", "systems=[ours, theirs]"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "2 systems\n"
    answer = json.loads(printed.out)
    assert list(answer) == ["bench", "settings", "cores", "rows", "versions"]
    assert (answer["bench"], answer["settings"]) == ("toy", {"systems": ["ours", "theirs"]})
    assert [row["system"] for row in answer["rows"]] == ["ours", "theirs"]


@pytest.mark.usefixtures("toy")
def test_its_settings_are_checked_as_all_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "toy", "sistems=[a]"]) == 2
    assert "sistems: unknown key; did you mean 'systems'?" in capsys.readouterr().err
    assert cli.main(["bench", "tyo"]) == 2
    assert "unknown benchmark 'tyo'; expected one of nightly, " in capsys.readouterr().err


@pytest.mark.parametrize("name", run.BENCHES)
def test_every_benchmark_has_settings_and_a_function(name: str) -> None:
    module = run.load(name)
    assert issubclass(module.SETTINGS, Settings)
    assert module.SETTINGS.__doc__
    assert callable(module.run)


def test_a_missing_package_is_one_line_that_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("implicit.cpu", "implicit.cpu.topk", "kgspark.bench.lists.topk"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(ResourceError, match=r"bench: topk needs the package implicit: pip install 'kgspark\["):
        run.load("topk")


def test_the_table_of_benchmarks_imports_no_engine() -> None:
    code = "import sys, kgspark.bench.run as run; assert not {'torch', 'pyspark', 'faiss'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
