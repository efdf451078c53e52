"""The process that `bench etl` compares with DuckDB: the first three stages of a night, without the session's start.

python -m kgspark.bench.nights.processes.etl MOVIELENS_FOLDER LAKE MASTER
"""

import json
import sys
from typing import TYPE_CHECKING, Any

from kgspark.bench.common import write_graph
from kgspark.night.night import open_night
from kgspark.night.settings import NightSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUN_DATE = "2026-01-01"
_NAMES = ("clean", "index", "triples")


def main(folder: str, lake: str, master: str) -> dict[str, Any]:
    """Seconds and peak bytes of each stage, with default settings, and the peak of the heap."""
    settings = NightSettings.model_validate(
        {"source": {"path": folder}, "lake": lake, "run_date": RUN_DATE, "spark": {"master": master}}
    )
    with open_night(settings, lambda text: None) as night:
        session = night.spark  # started here, outside the stages' time
        outcomes = dict(zip(_NAMES, write_graph(night), strict=True))
        return {
            "seconds": {name: outcome.seconds for name, outcome in outcomes.items()},
            "peak_bytes": {name: outcome.peak_bytes for name, outcome in outcomes.items()},
            "heap_peak_bytes": heap_peak(session),
        }


def heap_peak(session: "SparkSession") -> int:
    """The sum of the peaks of the JVM heap's pools, in bytes, with garbage; at least the peak of the heap."""
    jvm = session.sparkContext._jvm
    assert jvm is not None
    pools = jvm.java.lang.management.ManagementFactory.getMemoryPoolMXBeans()
    heap = jvm.java.lang.management.MemoryType.HEAP
    return sum(pool.getPeakUsage().getUsed() for pool in pools if pool.getType().equals(heap))


if __name__ == "__main__":
    folder, lake, master = sys.argv[1:]
    print(json.dumps(main(folder, lake, master)))
