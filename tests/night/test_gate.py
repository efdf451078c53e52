"""The gate before publication: a model that was not measured, or is worse than before, stays in the lake."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import AuditError
from kgspark.manifests import Manifest
from kgspark.night.checks.champion import find_champion
from kgspark.night.checks.gate import check_model
from kgspark.night.night import Night
from kgspark.stages import nightly, publish
from kgspark.tables import MODEL, PUBLISHED, TRIPLES
from nights import a_night
from worlds.tastes import write_world

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = "2026-01-02", "2026-01-03", "2026-01-04"
BAD = {"dim": 8, "epochs": 1, "learning_rate": 1e-6, "init": "normal"}
GOOD = {"dim": 8, "epochs": 20, "temperature": 0.2, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def folder(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world, and the lake of a good night."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "source", groups=4, users=32, movies=8)
    nightly.run(a_small_night(spark, folder, FIRST))
    return folder


def a_small_night(spark: Any, folder: Path, date: str, **changes: Any) -> Night:
    sections = {"source": {"path": str(folder / "source")}, "train": GOOD, "recommend": {"k": 5}}
    return a_night(folder / "lake", spark, run_date=date, audiences={"enabled": False}, **sections | changes)


def gate(night: Night) -> dict[str, Any]:
    return dict(night.run.manifest(PUBLISHED).details["gate"])


def test_a_first_night_is_compared_with_popularity_alone(spark: Any, folder: Path) -> None:
    night = a_small_night(spark, folder, FIRST)
    assert find_champion(night) is None
    assert gate(night).keys() == {"popularity"}
    assert gate(night)["popularity"]["model"] > gate(night)["popularity"]["popularity"]


def test_an_equal_model_is_published_beside_the_comparison_and_a_worse_one_is_not(spark: Any, folder: Path) -> None:
    equal = a_small_night(spark, folder, SECOND)
    nightly.run(equal)
    measured = gate(equal)["champion"]
    assert measured["date"] == FIRST
    assert measured["ours"] == measured["champion"] == equal.run.manifest(MODEL).details["metrics"]["model"]["ndcg@10"]
    assert measured["lead"] == 0
    assert measured["users"] > 40

    bad = {"train": BAD, "publish": {"beat_popularity": False}}
    worse = a_small_night(spark, folder, THIRD, **bad)
    with pytest.raises(AuditError, match=rf"ndcg@10 is 0\.\d+, that of the model published on {SECOND} is 0\.\d+ \("):
        nightly.run(worse)
    assert Manifest.read(worse.run.table(PUBLISHED)) is None
    assert not (folder / "lake" / "warehouse" / "recommendations" / f"ds={THIRD}").exists()
    anyway = {"publish": {"beat_popularity": False, "beat_champion": False}}
    assert publish.run(a_small_night(spark, folder, THIRD, **bad | anyway)).ran
    # The night that was published anyway is the next one's champion.
    champion = find_champion(a_small_night(spark, folder, "2026-01-05"))
    assert champion is not None
    assert champion.date == THIRD


def with_metrics(night: Night, metrics: dict[str, dict[str, float]]) -> None:
    """Writes other metrics into the manifest of the night's model."""
    model = night.run.manifest(MODEL)
    replace(model, details={**model.details, "metrics": metrics}).write(night.run.table(MODEL))


def test_a_model_that_was_not_measured_is_not_published_unless_configured(spark: Any, folder: Path) -> None:
    night = a_small_night(spark, folder, "2025-12-31", split={"protocol": "none"})
    shutil.copytree(folder / "lake" / "runs" / FIRST, night.run.folder)
    with_metrics(night, {"model": {}, "popularity": {}})
    with pytest.raises(AuditError, match=r"the model was not measured, because split\.protocol=none holds out no like"):
        check_model(night, None)
    anyway = night.settings.publish.model_copy(update={"beat_popularity": False})
    assert check_model(night.variant(night.settings.model_copy(update={"publish": anyway})), None) == {}


def test_a_champion_that_may_have_learned_what_is_held_out_is_not_compared(spark: Any, folder: Path) -> None:
    """Otherwise its model would win every night after a change of the split."""
    said: list[str] = []
    night = replace(a_small_night(spark, folder, "2026-02-01"), say=said.append)
    shutil.copytree(folder / "lake" / "runs" / FIRST, night.run.folder)
    champion = replace(night.run, date=FIRST)
    assert check_model(night, champion)["champion"]["lead"] == 0
    triples = night.run.manifest(TRIPLES)
    split = {**triples.settings["split"], "seed": 7}
    replace(triples, settings={**triples.settings, "split": split}).write(night.run.table(TRIPLES))
    compared = check_model(night, champion)["champion"]
    assert compared["changed"] == "split.seed"
    assert "ours" not in compared
    assert f"not compared with that of {FIRST}, which may have learned likes" in said[-1]


def test_the_gate_follows_the_length_of_the_measured_lists(spark: Any, folder: Path) -> None:
    night = a_small_night(spark, folder, "2025-12-30", train=GOOD | {"validation": {"k": 3}})
    shutil.copytree(folder / "lake" / "runs" / FIRST, night.run.folder)
    with_metrics(night, {"model": {"ndcg@3": 0.1}, "popularity": {"ndcg@3": 0.2}})
    with pytest.raises(AuditError, match=r"the model's ndcg@3 on held-out likes is 0\.1000, below .*'s 0\.2000"):
        check_model(night, None)
    with_metrics(night, {"model": {"ndcg@3": 0.3}, "popularity": {"ndcg@3": 0.2}})
    assert check_model(night, None) == {"popularity": {"model": 0.3, "popularity": 0.2}}
