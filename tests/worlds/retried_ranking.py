"""A program that ranks a small night on a cluster whose tasks die or hang at their first attempt.

    python retried_ranking.py MASTER SPACE STREAM OUT QUERIES PER_FILE

Prints one JSON line per file. Task 0 dies in the middle of its file; there, task 1 sleeps until Spark has run a second
copy.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext

from kgspark.retrieval.ranking_task import RankingTask
from kgspark.search_space import ITEMS
from kgspark.spark.ranking.executors import write_on_executors
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings

HANGS_SECONDS = 120


class DisturbedTask(RankingTask):
    """A ranking task that is disturbed when half of its file is written."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return RankingTask.__call__(self, self._disturbed(batches))

    def _disturbed(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        number, first_attempt = context.partitionId(), context.attemptNumber() == 0
        while number == 1 and not first_attempt and not self._half_written(number):
            time.sleep(0.1)  # on a busy machine the copy could overtake the first attempt before that one hangs
        for batch in batches:
            if first_attempt and self._half_written(number):
                first_attempt = False
                if number == 0:
                    os._exit(1)
                if number == 1:
                    time.sleep(HANGS_SECONDS)
            yield batch

    def _half_written(self, number: int) -> bool:
        return any(Path(self.out).glob(f".partial-part-{number:05d}*"))


def calm_task(space: str, out: str, queries: int, per_file: int) -> RankingTask:
    """The task whose files the disturbed one must write too."""
    return RankingTask(space, ITEMS, 9, queries, per_file, out, {"ds": "2026-01-02"}, block=4)


def main(master: str, space: str, stream: str, out: str, queries: int, per_file: int) -> None:
    """Ranks, and prints the written files."""
    conf = {
        "spark.executor.memory": "512m",
        "spark.speculation": True,
        "spark.speculation.multiplier": 1.5,
        "spark.speculation.quantile": 0.3,
        "spark.sql.execution.arrow.maxRecordsPerBatch": 20,
        "spark.log.level": "ERROR",
    }
    task = DisturbedTask(**vars(calm_task(space, out, queries, per_file)))
    with spark_session(SessionSettings(master=master, conf=conf), "retried ranking") as session:
        for file in write_on_executors(session.read.parquet(stream), [task])[0].files:
            print(json.dumps({name: asdict(file)[name] for name in ("name", "sha256")}))


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
