"""A program like `kgspark`, with one more command, `work`, whose Spark job does what a variable tells.

WORK=fail|wait|count python command.py work CONF [dotted.key=value ...]
"""

import os
import sys
import time
from collections.abc import Iterator

import pyarrow as pa

from kgspark.cli import main
from kgspark.cli.commands import COMMANDS, Command
from kgspark.night.night import Night


def run(night: Night) -> dict[str, int]:
    """Runs the job; its workers fail, or wait until they are ended, or count."""
    what = os.environ["WORK"]

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if what == "fail":
                raise LookupError("a movie is missing; spark.password=hunter2")
            if what == "wait":
                print("waiting", file=sys.stderr, flush=True)
                time.sleep(300)
            yield batch

    if what == "wait":
        night.say("begins")
        sys.stdout.flush()
    return {"rows": night.spark.range(10, numPartitions=4).repartition(3).mapInArrow(work, "id long").count()}


if __name__ == "__main__":
    COMMANDS["work"] = Command("worlds.command", "Works.")
    sys.exit(main())
