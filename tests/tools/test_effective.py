"""`kgspark config`: the values of a night, and where each was written."""

import json
from pathlib import Path

import pytest

from kgspark.cli import main
from kgspark.settings_docs.keys import night
from kgspark.tools.effective import effective_values, run


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(
        "source:\n  path: a.csv\n  format: table\n  movies: films.csv\n  columns: {rating: null}\n"
        "relations:\n  has_genre: {weight: 0.2}\ntrain:\n  dim: 64\n  model: RotatE\n",
        encoding="utf-8",
    )
    return path


def test_each_value_has_its_place(conf: Path) -> None:
    found = {each.key: each for each in effective_values(str(conf), ["train.epochs=3", "lake=there"])}
    here = str(conf)
    assert (found["train.dim"].value, found["train.dim"].origin) == (64, f"{here}:9:3")
    assert (found["train.epochs"].value, found["train.epochs"].origin) == (3, "command line")
    assert found["train.model"].value == "rotate"
    assert (found["lake"].value, found["lake"].origin) == ("there", "command line")
    assert found["source.movies.path"].value == str(conf.parent / "films.csv")
    assert found["source.movies.path"].origin == f"{here}:4:3"
    assert (found["relations.has_genre.weight"].value, found["relations.has_genre.weight"].default) == ("0.2", "0.1")
    assert found["relations.liked.where"].origin == "default"
    assert found["recommend.k"].origin == "default"


def test_what_the_recipe_takes_for_null_is_shown(conf: Path) -> None:
    found = {each.key: each.value for each in effective_values(str(conf), [])}
    assert found["train.temperature"] == 14.0
    assert found["train.batch_size"] is not None


def test_only_what_differs_is_shown_unless_all_is_asked_for(conf: Path) -> None:
    printed: list[str] = []
    shown = run(str(conf), [], printed.append)
    assert [each["key"] for each in shown] == [
        "source.path", "source.format", "source.columns.rating", "source.movies.path", "relations.has_genre.weight",
        "train.model", "train.dim",
    ]  # fmt: skip
    assert "train.dim" in printed[0]
    everything = {each["key"] for each in run(str(conf), [], printed.append, all=True)}
    assert {"recommend.k", "train.dim"} <= everything
    # Of a section that may be absent, the keys inside are shown.
    keys = {key.dotted for key in night().all_keys() if not key.entries and key.default != {}}
    assert keys - everything == {"source.movies"}


def test_the_command_prints_json(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", str(conf), "recommend.k=7", "--json"]) == 0
    values = {each["key"]: each for each in json.loads(capsys.readouterr().out)}
    assert values["recommend.k"] == {"key": "recommend.k", "value": 7, "default": 100, "origin": "command line"}


def test_an_error_under_json_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["config", str(tmp_path / "none.yaml"), "--json"])
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (answer["exit_code"], code != 0) == (code, True)
    assert printed.err == f"kgspark: error: {answer['error']}\n"
