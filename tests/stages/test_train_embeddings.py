"""The night that a warm start takes its model from; trainings are in test_nightly and test_distributed_training."""

from pathlib import Path

import pytest

from kgspark.manifests import Manifest
from kgspark.runs import Run
from kgspark.stages.train_embeddings import earlier_run
from kgspark.tables import MODEL
from nights import a_night


@pytest.mark.parametrize(
    ("date", "start"),
    [("2026-01-09", "2026-01-05"), ("2026-01-05", "2026-01-03"), ("2026-01-03", None), ("2025-01-01", None)],
)
def test_the_latest_night_is_the_newest_earlier_one_with_a_complete_model(
    tmp_path: Path, date: str, start: str | None
) -> None:
    for trained in ("2026-01-03", "2026-01-05", "2026-01-10"):
        folder = Run(tmp_path, trained).table(MODEL)
        folder.mkdir(parents=True)
        Manifest(MODEL, "train-embeddings", trained, {}, {}, []).write(folder)
    Run(tmp_path, "2026-01-07").table(MODEL).mkdir(parents=True)  # a training that did not end
    night = a_night(tmp_path, source={"path": "x"}, run_date=date, train={"warm_start": "latest"})
    assert earlier_run(night) == (start and Run(night.run.lake, start))


@pytest.mark.parametrize("date", ["../../OTHER", "yesterday", ""])
def test_a_warm_start_names_a_date(tmp_path: Path, date: str) -> None:
    with pytest.raises(ValueError, match=r"train\.warm_start"):
        a_night(tmp_path, source={"path": "x"}, train={"warm_start": date})
