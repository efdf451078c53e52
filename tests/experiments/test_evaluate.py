"""kgspark evaluate from the command line, on published split files with a known right answer."""

import json
from pathlib import Path

import numpy as np
import pytest

from nights import configuration, kgspark, only_line

pytestmark = pytest.mark.slow

GROUPS, USERS, ITEMS = 3, 45, 30


@pytest.fixture(scope="module")
def split_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """User u likes the items of group u mod 3; two of them are test likes."""
    folder = tmp_path_factory.mktemp("split")
    train, test = [], []
    for user in range(USERS):
        own = [item for item in range(ITEMS) if item % GROUPS == user % GROUPS]
        hidden = {own[user % len(own)], own[(user + 3) % len(own)]}
        train.append(f"u{user} " + " ".join(f"i{item}" for item in own if item not in hidden))
        test.append(f"u{user} " + " ".join(f"i{item}" for item in sorted(hidden)))
    paths = folder / "train.txt", folder / "test.txt"
    for path, lines in zip(paths, (train, test), strict=True):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def test_split_files_are_measured_for_every_model_and_seed(split_files: tuple[Path, Path], tmp_path: Path) -> None:
    conf = configuration(
        tmp_path,
        source={"path": str(tmp_path)},  # not read, because the files have their own ids
        lake=str(tmp_path / "lake"),
        spark={"master": "local[2]"},
        train={"dim": 8, "epochs": 20, "temperature": 0.2, "learning_rate": 0.02},
        evaluate={
            "protocol": "files",
            "train": str(split_files[0]),
            "test": str(split_files[1]),
            "seeds": [1, 2],
            "ks": [2, 10],
            "baselines": ["popularity", "ease"],
            "resamples": 100,
        },
    )
    done = kgspark("--json", "evaluate", conf)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)

    assert answer["protocol"] == "files"
    assert answer["data"] == {
        "users": USERS,
        "movies": ITEMS,
        "train": USERS * 8,
        "hidden": 0,
        "test": USERS * 2,
        "test_users": USERS,
    }
    assert [(row["model"], row["seed"]) for row in answer["rows"]] == [
        (model, seed) for seed in (1, 2) for model in ("kgspark", "popularity", "ease")
    ]
    for row in answer["rows"]:
        low, high = row["ci95"]["ndcg@2"]
        assert low <= row["ndcg@2"] <= high
        assert row["by_history"]["cold"]["users"] == USERS
        if row["model"] == "popularity":
            assert row["ndcg@10"] < 0.6
        else:  # the two remaining items of the user's group, and no other
            assert row["ndcg@2"] == row["recall@2"] == row["precision@2"] == 1
            assert row["filtered_mrr"] == pytest.approx(1)  # each alone, the other known left out
    lead = next(row for row in answer["rows"] if row["model"] == "popularity")["lead"]["ndcg@2"]
    assert lead["ci95"][0] > 0
    ours = next(row for row in answer["summary"] if row["model"] == "kgspark")
    assert ours["seeds"] == [1, 2]
    assert ours["mean"]["mrr@2"] == 1
    assert ours["deviation"]["mrr@2"] == pytest.approx(0)
    assert np.isfinite(list(ours["mean"].values())).all()


def test_a_missing_split_file_is_one_line(tmp_path: Path) -> None:
    conf = configuration(tmp_path, source={"path": str(tmp_path)}, lake=str(tmp_path / "lake"))
    done = kgspark("evaluate", conf, "evaluate.protocol=files")
    assert "protocol files needs evaluate.train and evaluate.test" in only_line(done)
    done = kgspark("evaluate", conf, "evaluate.protocol=files", "evaluate.train=no.txt", "evaluate.test=no.txt")
    assert "no.txt: no such file; evaluate.train names it" in only_line(done)
    done = kgspark("evaluate", conf, "evaluate.protocol=next", "evaluate.sequences=no.txt")
    assert "no.txt: no such file; evaluate.sequences names it" in only_line(done)
    done = kgspark("evaluate", conf, "evaluate.protocol=next", "evaluate.sequences=a.txt", "evaluate.positives=target")
    assert "leave out evaluate.positives=target" in only_line(done)
