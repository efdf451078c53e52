"""Stages that run one by one: what was left out is named, and otherwise the lists are those of a whole night."""

import csv
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark.errors import StageError
from kgspark.night.night import Night
from kgspark.stages import nightly
from kgspark.stages.nightly import check_earlier_stages, stages_of
from nights import DATE, a_small_night

pytestmark = pytest.mark.slow

NEW_USER = "90001"


@pytest.fixture
def folder(small_night: Path, tmp_path: Path) -> Path:
    """A copy of the small world, and of the lake of one night on it."""
    shutil.copytree(small_night, tmp_path, dirs_exist_ok=True)
    return tmp_path


def alone(night: Night, stage: str) -> None:
    """Runs one stage, as the command line does."""
    check_earlier_stages(night, stage)
    import_module(f"kgspark.stages.{stage}").run(night)


def published(night: Night) -> list[dict[str, Any]]:
    rows = []
    for table in ("recommendations", "audiences"):
        folder = night.run.lake / "warehouse" / table / f"ds={DATE}"
        rows += [row for path in sorted(folder.glob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]
    return rows


def replace_a_user(source: Path) -> None:
    """The first user is gone, and a new one, with the ratings of the second, is there: the number stays the same."""
    with open(source / "ratings.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    first, second = sorted({row["userId"] for row in rows}, key=int)[:2]
    kept = [row for row in rows if row["userId"] != first]
    kept += [row | {"userId": NEW_USER} for row in rows if row["userId"] == second]
    with open(source / "ratings.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)


def run_one_by_one(night: Night, first: str) -> None:
    """Runs `first` and the stages after it; before each, every later stage must refuse and name the one that is due."""
    before = published(night)
    stages = stages_of(night)
    for at in range(stages.index(first), len(stages)):
        due = stages[at].replace("_", "-")
        for later in stages[at + 1 :]:
            with pytest.raises(StageError, match=f"run {due} again|{due} ran with another value of"):
                alone(night, later)
        assert published(night) == before
        alone(night, stages[at])
    assert published(night) != before


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"split": {"protocol": "leave-one-out"}}, "write_triples"),
        pytest.param({"train": {"dim": 8, "epochs": 3}}, "train_embeddings", marks=pytest.mark.extended),
        pytest.param({"recommend": {"k": 4}}, "recommend", marks=pytest.mark.extended),
    ],
    ids=["another split", "other epochs", "another K"],
)
def test_a_stage_refuses_tables_of_other_settings(
    spark: Any, small_night: Path, folder: Path, changes: dict[str, Any], first: str
) -> None:
    run_one_by_one(a_small_night(small_night / "source", folder / "lake", spark, **changes), first)


def test_no_user_gets_the_list_of_another_one(spark: Any, folder: Path) -> None:
    """One user is gone and another one is new, so every number of a user after them stands for somebody else."""
    replace_a_user(folder / "source")
    night = a_small_night(folder / "source", folder / "lake", spark)
    alone(night, "clean_ratings")
    run_one_by_one(night, "index_entities")
    whole = a_small_night(folder / "source", folder / "another lake", spark)
    nightly.run(whole)
    assert published(night) == published(whole)
    assert NEW_USER in {str(row["user_id"]) for row in published(night)}
