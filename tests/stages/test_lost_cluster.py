"""A night on a cluster whose machines are gone: one line, instead of waiting for ever."""

import os
from pathlib import Path

import pytest

from nights import DATE, configuration, kgspark, only_line
from standalone_cluster import standalone_cluster

pytestmark = [pytest.mark.slow, pytest.mark.extended]


def test_a_cluster_without_workers_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user_id,movie_id,rating,timestamp\n1,2,4.0,1600001020\n")
    conf = configuration(
        tmp_path,
        lake=str(tmp_path / "lake"),
        source={"path": str(tmp_path / "ratings.csv"), "format": "table"},
        spark={"driver_memory": "512m", "executor_wait": 0.1},
    )
    with standalone_cluster(tmp_path, workers=0) as master:
        done = kgspark("clean-ratings", conf, f"spark.master={master}", env=os.environ)
    assert done.returncode == 69
    assert only_line(done) == (
        f"kgspark: error: {master}: no executor for 0.1 minutes; see if the cluster's workers run, have free cores and "
        "memory, and can be reached; spark.executor_wait is the limit"
    )
    assert not (tmp_path / "lake" / "runs" / DATE / "ratings").exists()
