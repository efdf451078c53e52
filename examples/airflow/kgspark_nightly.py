"""An Airflow 3 DAG: one night of kgspark per day.

Copy this file into the DAGs folder. Environment variables of the scheduler and the workers:

KGSPARK_HOME  the folder in which the command runs; relative paths of the configuration start here
KGSPARK_BIN   the command, `.venv/bin/kgspark` by default
KGSPARK_CONF  the configuration, `conf/ml-latest-small.yaml` by default

One task for the whole night is right for most installations: the stages share one Spark session, and a retry skips what
is complete. The exit code decides about a retry: a wrong configuration or a failed audit is not tried again.
"""

import os
import subprocess

import pendulum
from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task

# Codes that another attempt does not change: configuration, audit or gate, bad input (docs/operations.md).
FINAL = {2: "the configuration is wrong", 3: "the audit or the gate refused the tables", 65: "the input is bad"}


@dag(
    schedule="15 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["kgspark"],
)
def kgspark_nightly() -> None:
    """Publishes the tables of the logical date."""

    @task(retries=2, retry_delay=pendulum.duration(minutes=10))
    def nightly(ds: str | None = None) -> None:
        command = os.environ.get("KGSPARK_BIN", ".venv/bin/kgspark")
        conf = os.environ.get("KGSPARK_CONF", "conf/ml-latest-small.yaml")
        folder = os.environ.get("KGSPARK_HOME", os.curdir)
        done = subprocess.run([command, "nightly", conf, f"run_date={ds}"], cwd=folder, check=False)
        if done.returncode in FINAL:
            raise AirflowFailException(f"{FINAL[done.returncode]}: see the last line of the log")
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: see the last line of the log")

    nightly()


kgspark_nightly()
