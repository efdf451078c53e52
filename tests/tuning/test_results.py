"""The lines that a search prints, and the files that it writes."""

from pathlib import Path

import yaml

from kgspark.tuning.results import BEST, TRIALS, trial_line, write_files
from kgspark.tuning.study import Trial

GIVEN = Trial(0, "complete", 0.25, {}, 4, 1.0)
BETTER = Trial(1, "complete", 0.5, {"train.dim": 64, "train.temperature": 0.123456}, 4, 1.0)
PRUNED = Trial(2, "pruned", None, {"relations.tagged.weight": 0.5}, 3, 1.0)
FAILED = Trial(3, "failed", None, {"train.dim": 512}, 0, 1.0, "no memory")


def test_a_trial_is_one_line_with_its_outcome_and_its_settings() -> None:
    assert trial_line(GIVEN, "NDCG@10") == "validation NDCG@10 0.2500; the settings given"
    assert trial_line(BETTER, "NDCG@10") == "validation NDCG@10 0.5000; dim=64 temperature=0.1235"
    assert trial_line(PRUNED, "NDCG@10") == "stopped in epoch 3: below the median; tagged=0.5"
    assert trial_line(FAILED, "NDCG@10") == "failed: no memory; dim=512"


def test_there_is_no_best_file_before_a_trial_is_complete(tmp_path: Path) -> None:
    write_files(tmp_path, [FAILED], "NDCG@10")
    assert [path.name for path in tmp_path.iterdir()] == [TRIALS]
    write_files(tmp_path, [GIVEN, BETTER, PRUNED], "NDCG@10")
    assert yaml.safe_load((tmp_path / BEST).read_text()) == {"train": {"dim": 64, "temperature": 0.123456}}
