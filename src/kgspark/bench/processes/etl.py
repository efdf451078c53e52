"""The process that `bench etl` times beside DuckDB: the first three stages of a night, the session's start left out.

python -m kgspark.bench.processes.etl MOVIELENS_FOLDER LAKE MASTER
"""

import json
import sys
from pathlib import Path
from typing import Any

from kgspark.bench.jvm_memory import heap_peak
from kgspark.night.night import open_night
from kgspark.night.settings import NightSettings
from kgspark.stages import clean_ratings, index_entities, write_triples

RUN_DATE = "2026-01-01"
_STAGES = {"clean": clean_ratings, "index": index_entities, "triples": write_triples}


def main(folder: str, lake: str, master: str) -> dict[str, Any]:
    """Seconds and peak bytes of each stage, with default settings, and the heap's own peak."""
    settings = NightSettings.model_validate(
        {"source": {"path": folder}, "lake": lake, "run_date": RUN_DATE, "spark": {"master": master}}
    )
    with open_night(settings, lambda text: None) as night:
        session = night.spark
        outcomes = {name: stage.run(night) for name, stage in _STAGES.items()}
        return {
            "seconds": {name: outcome.seconds for name, outcome in outcomes.items()},
            "peak_bytes": {name: outcome.peak_bytes for name, outcome in outcomes.items()},
            "heap_peak_bytes": heap_peak(session),
        }


if __name__ == "__main__":
    print(json.dumps(main(str(Path(sys.argv[1])), sys.argv[2], sys.argv[3])))
