"""Publishes nights to a Hive metastore (Derby, embedded) in a Spark session of its own, and prints what it holds.

Arguments: a folder, and whether the metastore is there already (`again`).
"""

import json
import sys
from pathlib import Path

from kgspark.runs import Run
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse import files
from kgspark.warehouse.hive import HiveSettings, HiveTarget
from worlds.published import rank


def main(folder: Path, again: bool) -> None:
    conf = {
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder}/metastore;create=true",
    }
    with spark_session(SessionSettings(master="local[2]", driver_memory="1g", conf=conf), "hive") as session:
        target = HiveTarget(HiveSettings(), lambda: session)
        runs = [Run(folder / "lake", f"2026-02-0{day}") for day in (1, 2)]
        if not again:
            for run in runs:
                files.publish(rank(run, f"model {run.date}"), RANKED)
                target.publish(run, RANKED)
        found = session.sql(f"SELECT ds, model_id, count(*) FROM kgspark.{RECOMMENDATIONS} GROUP BY ALL ORDER BY ds")
        state = {"there": [target.is_there(run, RANKED) for run in runs], "rows": [[*row] for row in found.collect()]}
        if again:
            state["rollback"] = target.roll_back(runs[0])
        print(json.dumps(state | {"held": target.held(folder / "lake")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["again"])
