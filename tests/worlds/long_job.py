"""A program with a Spark job that does not end by itself: its Python workers compute, and print that they do.

    python long_job.py FILE [CONF_KEY=VALUE ...]

Writes FILE when a worker has begun.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings


def main(begun: str, *settings: str) -> None:
    """Starts the job."""

    def endless(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            Path(begun).touch()
            until = time.monotonic() + 300
            while time.monotonic() < until:  # busy, so that it notices nothing by itself
                pass
            yield batch

    conf = dict(setting.split("=", 1) for setting in settings)
    with spark_session(SessionSettings(master="local[2]", driver_memory="512m", conf=conf), "long job") as session:
        # After the first Python task, the JVM keeps a connection to pyspark's server, which breaks when the JVM ends.
        session.range(1).mapInArrow(lambda batches: batches, "id long").collect()
        session.range(10, numPartitions=2).repartition(2).mapInArrow(endless, "id long").collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
