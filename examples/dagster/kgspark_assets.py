"""A Dagster asset graph: one asset per stage of kgspark, partitioned by day.

    dagster dev -f kgspark_assets.py

Environment variables:

KGSPARK_HOME  the folder in which the commands run; relative paths of the configuration start here
KGSPARK_BIN   the command, `.venv/bin/kgspark` by default
KGSPARK_CONF  the configuration, `conf/ml-latest-small.yaml` by default
"""

import json
import os
import subprocess

import dagster as dg

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")
# The assets, each with the stage that makes it and the asset that the stage reads last.
STAGES = {
    "clean_ratings": ("clean-ratings", None),
    "entities": ("index-entities", "clean_ratings"),
    "triples": ("write-triples", "entities"),
    "model": ("train-embeddings", "triples"),
    "lists": ("recommend", "model"),
    "published": ("publish", "lists"),
}
# Codes that another attempt does not change: configuration, audit or gate, bad input (docs/operations.md).
FINAL = (2, 3, 65)


def stage_asset(name: str, stage: str, before: str | None) -> dg.AssetsDefinition:
    """An asset that runs one stage for the day of its partition."""

    @dg.asset(
        name=name,
        deps=[before] if before else [],
        partitions_def=DAYS,
        group_name="kgspark",
        retry_policy=dg.RetryPolicy(max_retries=2, delay=600),
    )
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        command = os.environ.get("KGSPARK_BIN", ".venv/bin/kgspark")
        conf = os.environ.get("KGSPARK_CONF", "conf/ml-latest-small.yaml")
        folder = os.environ.get("KGSPARK_HOME", os.curdir)
        arguments = [command, "--json", stage, conf, f"run_date={context.partition_key}"]
        done = subprocess.run(arguments, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise dg.Failure(f"exit code {done.returncode}", allow_retries=done.returncode not in FINAL)
        (outcome,) = json.loads(done.stdout)["stages"]
        return dg.MaterializeResult(metadata={key: outcome[key] for key in ("summary", "seconds", "ran")})

    return made


assets = [stage_asset(name, *stage) for name, stage in STAGES.items()]
night = dg.define_asset_job("kgspark_nightly", selection=dg.AssetSelection.assets(*assets), partitions_def=DAYS)
defs = dg.Definitions(
    assets=assets, jobs=[night], schedules=[dg.build_schedule_from_partitioned_job(night, hour_of_day=3)]
)
