"""The files of a training in its folder while it runs: metrics.csv, config.json, run.json, run_metadata.json.

`tgraphx-dashboard --logdir FOLDER` shows them, and defines the columns and the name `run_metadata.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tgraphx.tracking import CSVLogger

from kgspark.files import write_atomically
from kgspark.kge.export.model_files import LIBRARIES
from kgspark.kge.settings import TrainSettings
from kgspark.manifests import package_versions


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean loss, validation NDCG@k if it was evaluated, step size at its end, wall seconds."""

    epoch: int
    train_loss: float
    ndcg: float | None
    learning_rate: float
    seconds: float


class RunFolder:
    """Writes the dashboard's files of one training; a context that closes the log at the end of the epochs."""

    def __init__(self, folder: Path, settings: TrainSettings, device: str, history: Sequence[Epoch]) -> None:
        """Starts `metrics.csv` anew with the epochs that a resumed training has already finished."""
        self.folder = folder
        self._settings, self._device, self._started = settings, device, _now()
        (folder / "metrics.csv").unlink(missing_ok=True)
        self._metrics = CSVLogger(str(folder))
        write_atomically(folder / "config.json", _json(settings.model_dump()))
        self._status("running", {})
        for epoch in history:
            self.log(epoch)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()

    def log(self, epoch: Epoch) -> None:
        """Appends one row to `metrics.csv`."""
        self._metrics.log(**asdict(epoch))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Writes `run.json`: results and versions."""
        self._status("completed", results)

    def _status(self, status: str, results: Mapping[str, Any]) -> None:
        run = {"status": status, "device": self._device, "versions": package_versions(LIBRARIES), **results}
        write_atomically(self.folder / "run.json", _json(run))
        metadata = {
            "run_name": self.folder.name,
            "task": f"{self._settings.model} / {self._settings.objective}",
            "status": status,
            "device": self._device,
            "total_epochs": self._settings.epochs,
            "start_time": self._started,
            "end_time": _now() if status != "running" else None,
        }
        write_atomically(self.folder / "run_metadata.json", _json(metadata))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
