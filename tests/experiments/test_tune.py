"""The whole command `kgspark tune` on the bundled data, called twice without a kill."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kgspark.errors import ResourceError
from kgspark.experiments import tune
from nights import BUNDLED, a_night, configuration, kgspark

# A number is applied in memory, and for an expression Spark writes the triples: both give has_genre the same weight.
SPACE = {"relations.has_genre.weight": [0.5, "1.0 / 2"], "relations.has_age.weight": [0.1, 0.2]}


@pytest.mark.extended
def test_a_search_over_two_calls(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    conf = configuration(
        tmp_path,
        source={"path": str(BUNDLED)},
        lake=str(lake),
        train={"dim": 16, "epochs": 2, "threads": 1, "batch_size": 64},
        spark={"master": "local[2]", "driver_memory": "1g"},
        tune={"trials": 2, "name": "genres", "space": SPACE},
    )
    first = kgspark("tune", conf)
    assert first.returncode == 0, first.stderr
    assert "relations.has_age.weight is left out: this data has no such relation" in first.stdout
    assert [line.split()[1] for line in first.stdout.splitlines() if line.startswith("trial ")] == ["0", "1"]
    done = kgspark("--json", "tune", conf, "tune.trials=5")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stderr.splitlines() if line.startswith("trial ")] == ["2", "3", "4"]
    assert "2 of 5 trials are there already" in done.stderr

    told = json.loads(done.stdout)
    given, *others = told["trials"]
    weights = {trial["changes"]["relations.has_genre.weight"] for trial in others}
    assert weights == {0.5, "1.0 / 2"}
    assert len({trial["value"] for trial in others}) == 1
    assert given["changes"] == {}
    assert 0 < given["value"] != others[0]["value"]

    folder = lake / "tuning" / "genres"
    assert told["folder"] == str(folder)
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best == (
        {"relations": {"has_genre": {"weight": others[0]["changes"]["relations.has_genre.weight"]}}}
        if told["best"]["number"]
        else {}
    )
    assert len((folder / "trials.csv").read_text().splitlines()) == 6
    # Test likes are neither printed nor stored.
    assert not list(lake.glob("runs/*/model"))
    assert "test" not in json.dumps(told["trials"])


def test_a_missing_optuna_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "kgspark.tuning.study", raising=False)
    with pytest.raises(ResourceError, match=r"pip install 'kgspark\[tune\]'"):
        tune.run(a_night(tmp_path, source={"path": "x"}))


def test_settings_and_the_command_line_do_not_import_optuna() -> None:
    code = "import sys, kgspark.cli; assert not [name for name in sys.modules if name.startswith('optuna')]"
    subprocess.run([sys.executable, "-c", code], check=True)
