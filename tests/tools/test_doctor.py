"""`kgspark doctor`: what is wrong with a machine or a configuration, and how to mend it."""

import json
from pathlib import Path

import pytest

from kgspark import extras
from kgspark.cli import main
from kgspark.errors import UnfitError
from kgspark.tools import doctor
from kgspark.tools.health import machine
from kgspark.tools.health.configuration import configuration_checks
from nights import BUNDLED


def checks(tmp_path: Path, text: str, *overrides: str) -> dict[str, str]:
    """What is wrong with a configuration, by the name of the check."""
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    found = configuration_checks(str(path), [f"lake={tmp_path / 'lake'}", *overrides])
    return {check.name: f"{check.found}; {check.remedy}" for check in found if check.state == "wrong"}


def test_this_machine_and_the_bundled_night_are_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_host_bytes", lambda: 8 << 30)
    conf = tmp_path / "own.yaml"
    conf.write_text(f"source: {{path: {BUNDLED}}}\n", encoding="utf-8")
    answer = doctor.run(str(conf), [f"lake={tmp_path / 'lake'}"], lambda line: None)
    names = {check["name"] for check in answer["checks"]}
    assert {"Python", "Java", "memory", "packages", "GPU", "source", "lake"} <= names
    assert answer["fit"]
    assert not (tmp_path / "lake").exists()


def test_what_is_wrong_is_told_with_exit_code_1_and_as_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    code = main(["doctor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["fit"]) == (1, False)
    java = next(check for check in answer["checks"] if check["name"] == "Java")
    assert java["state"] == "wrong"
    assert "install it" in java["found"]


def test_little_memory_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_host_bytes", lambda: 1 << 30)
    monkeypatch.setattr(machine, "missing_packages", lambda extra: ["tgraphx"] if extra == "train" else [])
    printed: list[str] = []
    with pytest.raises(UnfitError, match="2 of "):
        doctor.run("", [], printed.append)
    assert any("close other programs" in line for line in printed)
    assert any("pip install 'kgspark[train]'" in line for line in printed)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("source: {path: nowhere}", "source", "no such file or folder"),
        ("source: {path: .}\ntrain: {dmi: 3}", "configuration", "did you mean 'dim'?"),
        ("source: {format: spark, reader: jdbc, options: {password: '${ENV:NOT_SET}'}}", "source", "NOT_SET is not"),
        ("source: {format: spark, reader: jdbc, options: {url: x}}", "connector", "JDBC driver"),
        ("source: {path: .}\nspark: {conf: {spark.jars: /nowhere.jar}}", "spark.jars", "no such file"),
    ],
)  # fmt: skip
def test_what_a_configuration_lacks(tmp_path: Path, text: str, name: str, says: str) -> None:
    assert says in checks(tmp_path, text)[name]


def test_text_ids_and_a_lake_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user_id,movie_id,rating,timestamp\nu1,1,4,1\nu2,1,4,1\n", encoding="utf-8")
    (tmp_path / "lake").write_text("", encoding="utf-8")
    found = checks(tmp_path, "source: {path: r.csv, format: table}")
    assert "source.ids=string" in found["source"]
    assert "is a file" in found["lake"]


def test_the_extra_of_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "deltalake")
    found = checks(tmp_path, f"source: {{path: {BUNDLED}}}\npublish: {{targets: [files, delta]}}")
    assert "pip install 'kgspark[delta]'" in found["publish.targets"]


@pytest.mark.parametrize(
    ("module", "advice"),
    [("faiss", "pip install 'kgspark[retrieve]'"), ("optuna", "pip install 'kgspark[tune]'"),
     ("implicit", "pip install 'kgspark[bench]'"), ("something", "pip install something")],
)  # fmt: skip
def test_a_missing_module_is_named_with_its_extra(module: str, advice: str) -> None:
    assert extras.advice_for(module) == advice
