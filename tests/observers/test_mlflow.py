"""A run in MLflow per model that a night has trained, logged by MLflow's own client in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kgspark import run_figures
from kgspark.runs import Run
from nights import ROOT

PYTHON = ROOT / ".venv-mlflow" / "bin" / "python"

LOG = """
import json, sys
from pathlib import Path
from mlflow.tracking import MlflowClient
from kgspark.observers.mlflow import MLflowRuns
from kgspark.observers.observer import Ended
from kgspark.runs import Outcome, Run

lake, date, trained = sys.argv[1:]
outcomes = [Outcome("train-embeddings", trained == "yes", "", 2.5, 0), Outcome("publish", True, "", 1.5, 0)]
MLflowRuns().night_ended(Run(Path(lake), date), Ended("nightly", outcomes, 3, "refused", 4.0))
client = MlflowClient()
experiment = client.get_experiment_by_name("kgspark")
runs = client.search_runs([experiment.experiment_id]) if experiment else []
curves = [len(client.get_metric_history(run.info.run_id, "epoch.train_loss")) for run in runs]
print(json.dumps([[run.info.status, run.data.params, run.data.metrics, run.data.tags] for run in runs] + curves))
"""


@pytest.mark.extended
def test_a_training_is_a_run_with_its_settings_metrics_and_curves(small_night: Path, tmp_path: Path) -> None:
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import mlflow"], check=False).returncode:
        pytest.skip("no index: make test-extended could not install MLflow")
    lake = small_night / "lake"
    (date,) = (path.name for path in (lake / "runs").iterdir())
    tracking = {"MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"}
    env = os.environ | tracking | {"PYTHONPATH": str(ROOT / "src")}

    def logged(trained: str) -> list:
        command = [PYTHON, "-c", LOG, lake, date, trained]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert logged("no") == []
    (status, params, metrics, tags), epochs = logged("yes")
    run = Run(lake, date)
    assert (status, tags["kgspark.exit_code"], tags["kgspark.model_id"]) == ("FAILED", "3", run_figures.model_id(run))
    assert metrics["held_out.model.ndcg_at_10"] == pytest.approx(run_figures.quality(run)["model", "ndcg@10"])
    assert metrics["seconds.train-embeddings"] == 2.5
    assert {key: params[key] for key in params if key.endswith("dim")}.popitem()[1] == "8"
    assert epochs == 2
