"""Training by two workers: as good as by one, without a door for others, and with clear errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import StageError
from kgspark.kge.training.distributed import Job, work
from kgspark.kge.training.local_workers import run_on_this_machine
from kgspark.night.night import Night
from kgspark.night.reads import entity_layout, relations_of
from kgspark.spark.distributor import Distributor, find_reason
from kgspark.stages import clean_ratings, index_entities, train_embeddings, write_triples
from kgspark.tables import MODEL, TRIPLES
from nights import a_night, a_small_night

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def night(spark: Any, ml_small: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night up to its triples."""
    night = a_night(tmp_path_factory.mktemp("lake"), spark, source={"path": str(ml_small)})
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    return night


def trained(night: Night, workers: int) -> Mapping[str, Any]:
    """The model's manifest after a training by `workers` workers."""
    train = night.settings.train.resolved().model_copy(update={"workers": workers, "epochs": 6})
    train_embeddings.run(night.variant(night.settings.model_copy(update={"train": train})))
    return night.run.manifest(MODEL).details


@pytest.mark.extended  # tests/kge/training holds that three workers take the steps of one
def test_two_workers_reach_the_quality_of_one(night: Night, capfd: pytest.CaptureFixture[str]) -> None:
    one = trained(night, 1)
    capfd.readouterr()
    two = trained(night, 2)
    assert "distributed training" not in "".join(capfd.readouterr())
    for name in ("ndcg@10", "recall@10", "mrr@10"):
        assert two["metrics"]["model"][name] == pytest.approx(one["metrics"]["model"][name], abs=0.005)
        assert two["metrics"]["model"][name] > 1.2 * two["metrics"]["popularity"][name]
    losses = [[epoch["train_loss"] for epoch in details["training"]["history"]] for details in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    "launch",
    [
        pytest.param(lambda spark: run_on_this_machine, id="on this machine"),
        pytest.param(
            lambda spark: Distributor(spark, 2, gpu=False).run, id="in tasks of Spark", marks=pytest.mark.extended
        ),
    ],
)
def test_a_failed_worker_is_one_clear_line(spark: Any, small_night: Path, tmp_path: Path, launch: Any) -> None:
    night = a_small_night(small_night / "source", small_night / "lake", spark)
    job = Job(
        triples=night.run.table(TRIPLES),
        folder=tmp_path,
        fingerprint="",
        layout=entity_layout(night),
        relations=relations_of(night),
        settings=night.settings.train.resolved().model_copy(update={"workers": 2}),
        threads=1,
    )
    with pytest.raises(StageError) as caught:
        launch(night.spark)(work, job)
    expected = f"train.workers: {tmp_path}: the start of the training is not here; do all machines see this folder?"
    assert str(caught.value) == expected


def test_workers_on_gpus_that_spark_does_not_know_of_are_one_clear_line(spark: Any) -> None:
    with pytest.raises(StageError, match=r"^train\.workers: Spark knows no GPU .*, or train\.device=cpu$"):
        Distributor(spark, 2, gpu=True).run(print, None)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("ModuleNotFoundError: No module named 'torch'\nTraceback", "no torch on the executors; install kgspark["),
        ("kgspark: error: too few users\nRuntimeError: a worker ended", "too few users"),
        (
            "Py4JJavaError\n: org.apache.spark.scheduler.BarrierJobSlotsNumberCheckFailed: [SPARK-24819]: x",
            "the cluster has fewer task slots than that",
        ),
        ("  File x\nValueError: this\n", "ValueError: this"),
    ],
)
def test_the_reason_is_found_in_what_workers_printed(output: str, reason: str) -> None:
    assert find_reason(output).startswith(reason)
