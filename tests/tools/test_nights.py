"""`kgspark nights`: a line per night, or JSON; it locks nothing and writes nothing."""

import json
from pathlib import Path

import pytest

from kgspark.cli import main
from kgspark.runs import Run
from kgspark.tables import RANKED
from kgspark.warehouse import files
from nights import configuration
from worlds.published import rank


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return configuration(tmp_path, lake=str(tmp_path / "lake"), source={"path": "nowhere"})


def test_a_line_per_night_while_one_is_running(tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = tmp_path / "lake"
    for date in ("2026-02-03", "2026-02-04"):
        files.publish(rank(Run(lake, date), f"transe-{date}"), RANKED)
    with Run(lake, "2026-02-05").locked():
        before = sorted(lake.rglob("*"))
        assert main(["nights", str(conf), "run_date=2026-02-05"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert main(["nights", str(conf), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
    assert [line[:4] for line in lines] == [
        ["date", "state", "published", "model"],
        ["2026-02-05", "running", "no", "0.0"],
        ["2026-02-04", "empty", "latest", "transe-2026-02-04"],
        ["2026-02-03", "empty", "yes", "transe-2026-02-03"],
    ]
    assert answer["lake"] == str(lake)
    assert [night["published"] for night in answer["nights"]] == ["no", "latest", "yes"]
    assert answer["nights"][1]["files"] == 19
    assert sorted(lake.rglob("*")) == before


def test_a_lake_without_nights(tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nights", str(conf)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'lake'}: no nights here\n"
    assert not (tmp_path / "lake").exists()
