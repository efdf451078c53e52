"""Spark on a lake in an object store; tests/stages/test_lake_of_a_cluster.py has a cluster with a connector."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import StageError
from kgspark.spark.frames import read_table
from kgspark.spark.stored import ACCESS, check_connector, copy_in_store, is_local
from kgspark.stores.copies import Copy
from kgspark.stores.store import Store
from s3_server import S3


@pytest.fixture
def night(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a night in a copy of a lake on a store."""
    s3.use(monkeypatch)
    uri = s3.new_uri()
    Copy.open(tmp_path, uri)
    Store(uri).put("leases/2026-01-02.json", b"{}")
    return tmp_path / "runs" / "2026-01-02"


@pytest.fixture
def by_connector(spark: Any) -> Iterator[None]:
    """As if the session were that of a cluster."""
    spark.conf.set(ACCESS, "connector")
    yield
    spark.conf.unset(ACCESS)


def test_local_spark_works_on_the_copy(spark: Any, night: Path) -> None:
    assert is_local(spark)
    assert copy_in_store(spark, night) is None
    check_connector(spark, night)


@pytest.mark.usefixtures("by_connector")
def test_spark_without_a_connector_is_told_at_the_beginning(spark: Any, night: Path) -> None:
    with pytest.raises(StageError, match=r"leases/2026-01-02.json: Spark cannot read .*add its connector \(for s3a"):
        check_connector(spark, night)


@pytest.mark.usefixtures("by_connector")
def test_an_evaluation_of_a_cluster_is_refused(spark: Any, night: Path) -> None:
    with pytest.raises(StageError, match=r"evaluation works on this machine's disk.*spark.master=local"):
        read_table(spark, night / "evaluations" / "random-1" / "runs" / "2026-01-02" / "ratings")


@pytest.mark.usefixtures("by_connector")
def test_a_lake_on_a_disk_needs_no_connector(spark: Any, tmp_path: Path) -> None:
    check_connector(spark, tmp_path / "runs" / "2026-01-02")
    assert copy_in_store(spark, tmp_path / "runs" / "2026-01-02" / "ratings") is None
