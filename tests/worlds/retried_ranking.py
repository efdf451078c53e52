"""Ranks a small night on a cluster whose tasks die or hang at their first attempt: a program of its own.

    python retried_ranking.py MASTER SPACE STREAM OUT QUERIES PER_FILE

Prints a JSON line a file. Task 0 dies in the middle of its file; task 1 sleeps there until Spark has run a second copy.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext

from kgspark.retrieval.ranked_files import RankedFiles, write_ranked
from kgspark.retrieval.ranking_task import RankingPlan
from kgspark.spark.ranking.executors import SideWriter, write_on_executors
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings

HANGS_SECONDS = 120


def disturbed(batches: Iterator[pa.RecordBatch], files: RankedFiles) -> Iterator[pa.RecordBatch]:
    """`write_ranked`, disturbed once a file is half written."""
    task = TaskContext.get()
    assert task is not None

    def half() -> Iterator[pa.RecordBatch]:
        fails = task.attemptNumber() == 0
        for batch in batches:
            if fails and list(Path(files.folder).glob(f".partial-part-{task.partitionId():05d}*")):
                fails = False
                if task.partitionId() == 0:
                    os._exit(1)
                if task.partitionId() == 1:
                    time.sleep(HANGS_SECONDS)
            yield batch

    return write_ranked(half(), files)


def ranked_files(space: str, out: str, per_file: int) -> RankedFiles:
    """What is ranked, and where it is written."""
    return RankedFiles(RankingPlan(space, "items", 9, block=4), out, per_file, {"ds": "2026-01-02"})


def main(master: str, space: str, stream: str, out: str, queries: int, per_file: int) -> None:
    """Ranks, and prints what was written."""
    conf = {
        "spark.executor.memory": "512m",
        "spark.speculation": True,
        "spark.speculation.multiplier": 1.5,
        "spark.speculation.quantile": 0.3,
        "spark.sql.execution.arrow.maxRecordsPerBatch": 20,
        "spark.log.level": "ERROR",
    }
    files = ranked_files(space, out, per_file)
    with spark_session(SessionSettings(master=master, conf=conf), "retried ranking") as session:
        frame = session.read.parquet(stream).selectExpr("0 AS side", "*")
        writer = SideWriter(queries, per_file, partial(disturbed, files=files))
        for file in write_on_executors(frame, [writer])[0].files:
            print(json.dumps({"name": file.name, "sha256": file.sha256}))


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
