"""A task works on the GPU that Spark assigned to it; otherwise tasks are distributed over all GPUs."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.resource import ResourceInformation

from kgspark.spark.ranking.task_gpu import task_gpu


def test_tasks_are_dealt_out_where_spark_gives_no_gpu(spark: Any) -> None:
    def ask(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"gpu": [task_gpu(3)] * batch.num_rows})

    rows = spark.range(0, 5, numPartitions=5).mapInArrow(ask, "gpu long").collect()
    assert [row.gpu for row in rows] == [0, 1, 2, 0, 1]
    assert task_gpu(3) == 0


def test_the_gpu_that_spark_gave_a_task_counts() -> None:
    context = TaskContext._getOrCreate()
    try:
        context._partitionId = 1
        for address, expected in (("2", 2), ("5", 1), ("GPU-7f3a", 1)):
            context._resources = {"gpu": ResourceInformation("gpu", [address])}
            assert task_gpu(4) == expected
    finally:
        TaskContext._setTaskContext(None)
