"""A night on top of the last one: a new file of ratings, training from the published vectors, and the comparison."""

import json
from pathlib import Path
from typing import Any

import pytest

from kgspark.manifests import Manifest
from kgspark.night.comparison import Times, format_comparison, is_full, last_full_night
from kgspark.night.night import Night
from kgspark.run_figures import audit_findings, list_churn
from kgspark.runs import Outcome, Run
from kgspark.stages import nightly
from kgspark.tables import MODEL, RATINGS
from nights import a_night
from worlds.tastes import write_world

TRAIN = {"dim": 8, "epochs": 20, "temperature": 0.2, "learning_rate": 0.02, "warm_start": "latest", "warm_epochs": 2}
COLUMNS = {"user": "userId", "movie": "movieId"}


def _night(spark: Any, folder: Path, date: str) -> tuple[Night, list[str]]:
    said: list[str] = []
    source = {"path": str(folder / "in"), "format": "table", "movies": str(folder / "movies.csv"), "columns": COLUMNS}
    sections = {"source": source, "train": TRAIN, "recommend": {"k": 5}, "audiences": {"enabled": False}}
    return a_night(folder / "lake", spark, said.append, run_date=date, **sections), said


@pytest.mark.extended
@pytest.mark.slow
def test_the_same_command_every_night_is_full_once_and_then_incremental(spark: Any, tmp_path: Path) -> None:
    write_world(tmp_path, groups=4, users=32, movies=8)
    header, *lines = (tmp_path / "ratings.csv").read_text().splitlines(keepends=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text("".join([header, *lines[:-20]]))
    first, said = _night(spark, tmp_path, "2026-01-02")
    answer = nightly.run(first)
    assert (answer["full_night"], answer["list_churn"], is_full(first.run)) == (None, {}, True)
    assert "last full night" not in "".join(said)

    (tmp_path / "in" / "2.csv").write_text("".join([header, *lines[-20:]]))
    second, said = _night(spark, tmp_path, "2026-01-03")
    answer = nightly.run(second)
    assert second.run.manifest(RATINGS).rows == len(lines)
    assert second.run.manifest(RATINGS).details["basis"] == {
        "date": "2026-01-02",
        "unfit": "",
        "files": 1,
        "lines": 20,
    }
    model = second.run.manifest(MODEL)
    assert model.sources == {"warm_start": first.run.manifest(MODEL).fingerprint}
    assert len(model.details["training"]["history"]) == 2
    assert model.details["metrics"]["model"]["ndcg@10"] > model.details["metrics"]["popularity"]["ndcg@10"]
    assert not is_full(second.run)
    assert answer["full_night"]["date"] == "2026-01-02"
    assert 0 <= answer["list_churn"]["recommendations"] < 1
    printed = "".join(said)
    assert "of the last full night, 2026-01-02: clean-ratings " in printed
    assert "New in the lists since the last published night: " in printed

    again, _ = _night(spark, tmp_path, "2026-01-03")
    assert [stage["ran"] for stage in nightly.run(again)["stages"]] == [False] * 6
    assert last_full_night(Run(first.run.lake, "2026-01-09")) == last_full_night(second.run)


def test_times_are_compared_only_if_every_stage_ran_and_another_night_was_full(tmp_path: Path) -> None:
    outcomes = [Outcome("clean-ratings", True, "", 2.0, 0), Outcome("publish", True, "", 1.0, 0)]
    full = Times("2026-01-02", True, {"clean-ratings": 8.0, "publish": 2.0})
    assert format_comparison(outcomes, full, {"audiences": 0.25}) == [
        "That is 0.30 of the last full night, 2026-01-02: clean-ratings 2.0 of 8.0, publish 1.0 of 2.0 s.",
        "New in the lists since the last published night: 25.0% of audiences.",
    ]
    assert format_comparison([*outcomes[:1], Outcome("publish", False, "", 0.0, 0)], full, {}) == []
    assert format_comparison(outcomes, None, {}) == []
    of_another_version = Times("2026-01-02", True, {"clean": 8.0, "publish": 2.0})
    assert format_comparison(outcomes, of_another_version, {}) == []
    for date, times in (
        ("2026-01-02", {"full": True, "stages": {"publish": 2.0}}),
        ("2026-01-03", {"full": False, "stages": {"publish": 2.0}}),
        ("2026-01-04", {"full": True, "stages": {"publish": None}}),
    ):
        run = Run(tmp_path, date)
        run.table(MODEL).mkdir(parents=True)
        Manifest(MODEL, "", "", {}, {}, []).write(run.table(MODEL))
        (run.folder / "times.json").write_text(json.dumps(times))
    assert last_full_night(Run(tmp_path, "2026-01-05")) == Times("2026-01-02", True, {"publish": 2.0})
    assert last_full_night(Run(tmp_path, "2026-01-02")) is None


def test_churn_is_what_the_audit_measured(tmp_path: Path) -> None:
    run = Run(tmp_path, "2026-01-02")
    folder = run.table("published")
    folder.mkdir(parents=True)
    Manifest("published", "publish", "", {}, {}, []).write(folder)
    found = [("list_churn", "recommendations", 0.5), ("list_churn", "audiences", None), ("ranks", "audiences", 0.0)]
    lines = [json.dumps({"check": check, "table": table, "value": value}) for check, table, value in found]
    (folder / "audit.jsonl").write_text("\n".join(lines))
    assert list_churn(audit_findings(run)) == {"recommendations": 0.5}
