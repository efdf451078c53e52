"""A run in MLflow per model that a night has trained: settings, held-out metrics, and the curves of the epochs.

MLflow finds its server by its own variables: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME (here `kgspark` by default).
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from kgspark import run_figures
from kgspark.manifests import Manifest
from kgspark.observers.observer import Ended, Observer
from kgspark.runs import Run
from kgspark.tables import MODEL

# Limits of MLflow's servers: length of a value, and numbers of items per request.
_LONGEST, _PARAMS, _METRICS = 500, 100, 1000


class MLflowRuns(Observer):
    """Logs at the end of a command whose training ran; the state of the run is that of the command."""

    name = "MLflow"

    def night_ended(self, run: Run, ended: Ended) -> None:
        """Logs the run as a whole."""
        manifest = run.find_manifest(MODEL)
        trained = any(outcome.ran and outcome.stage == manifest.stage for outcome in ended.outcomes if manifest)
        if manifest is not None and trained:
            client = MlflowClient()
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "kgspark")
            found = client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else client.create_experiment(name)
            _log(client, experiment, run, ended, manifest)


def _log(client: MlflowClient, experiment: str, run: Run, ended: Ended, manifest: Manifest) -> None:
    values = list(_flat(manifest.settings))
    # A server takes each value up to a length; the whole settings are in the manifest.
    params = [Param(key, str(value)[:_LONGEST]) for key, value in values]
    metrics = list(_metrics(run, ended, manifest))
    tags = {
        "kgspark.run_date": run.date,
        "kgspark.model_id": str(manifest.details["model_id"]),
        "kgspark.fingerprint": manifest.fingerprint,
        "kgspark.command": ended.command,
        "kgspark.exit_code": str(ended.code),
        **{f"kgspark.version.{package}": version for package, version in manifest.versions.items()},
    }
    logged = client.create_run(experiment, run_name=f"{run.date} {manifest.details['model_id']}").info.run_id
    client.log_batch(logged, tags=[RunTag(key, value) for key, value in tags.items()])
    for start in range(0, len(params), _PARAMS):
        client.log_batch(logged, params=params[start : start + _PARAMS])
    for start in range(0, len(metrics), _METRICS):
        client.log_batch(logged, metrics=metrics[start : start + _METRICS])
    client.set_terminated(logged, "FAILED" if ended.code else "FINISHED")


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}".strip("."))
    else:
        yield key, value


def _metrics(run: Run, ended: Ended, manifest: Manifest) -> Iterator[Metric]:
    for (system, name), value in run_figures.quality(run).items():
        yield _metric(f"held_out.{system}.{name}", value)
    for epoch in manifest.details["training"]["history"]:
        for name, value in epoch.items():
            if name != "epoch" and isinstance(value, int | float):
                yield _metric(f"epoch.{name}", value, int(epoch["epoch"]))
    for outcome in ended.outcomes:
        yield _metric(f"seconds.{outcome.stage}", outcome.seconds)


def _metric(name: str, value: float, step: int = 0) -> Metric:
    # MLflow allows letters, digits and few other characters; `@` is none of them.
    return Metric(re.sub(r"[^\w./ -]", "_at_", name), float(value), 0, step)
