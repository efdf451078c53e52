"""bench nightly: a whole night beside MLlib ALS, each as a process of its own, with medians over rounds."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from kgspark import config
from kgspark.config import Settings
from kgspark.errors import StageError
from kgspark.runs import versions
from kgspark.spark.session import usable_cores

Say = Callable[[str], None]


class NightlyBenchSettings(Settings):
    """`kgspark bench nightly`: from ratings file to published top-K, against MLlib ALS for the same table."""

    source: str = Field("tests/data/ml-latest-small", description="a MovieLens folder")
    k: int = Field(100, ge=1, description="movies a user")
    rounds: int = Field(1, ge=1, description="measurements of each system; the median is told")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for the night")


def run(overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """One row a system: seconds of whole processes, the two in turn, and NDCG@10."""
    settings = config.from_overrides(NightlyBenchSettings, overrides)
    master = f"local[{usable_cores()}]"
    say(f"bench nightly: {settings.source}, K = {settings.k}, {master}, {settings.rounds} round(s)")
    with tempfile.TemporaryDirectory(prefix="kgspark-bench-") as scratch:
        conf = Path(scratch) / "night.yaml"
        # JSON is YAML.
        conf.write_text(json.dumps({"source": {"path": str(Path(settings.source).absolute())}}), encoding="utf-8")
        night = [str(conf), f"recommend.k={settings.k}", f"spark.master={master}", *settings.overrides]
        ours, theirs = [], []
        for number in range(settings.rounds):  # in turn, so that a slow minute of the machine meets both
            lake = f"lake={scratch}/lake-{number}"
            ours.append(_timed("kgspark nightly", [*_kgspark("--json", "nightly"), *night, lake], say))
            out = Path(scratch) / f"als-{number}"
            als = ["kgspark.bench.processes.als", settings.source, str(out), str(settings.k), master]
            theirs.append(_timed("MLlib ALS", [sys.executable, "-m", *als], say))
        peers = "evaluate.baselines=[popularity, implicit-als, mllib-als]"
        quality = _timed(
            "evaluate", [*_kgspark("--json", "evaluate"), *night, "lake=" + f"{scratch}/lake-0", peers], say
        )
    figures = {row["model"]: row for row in quality.answer["rows"]}
    rows = [
        {"system": "kgspark nightly", "seconds": _median(ours), "ndcg@10": figures["kgspark"]["ndcg@10"]}
        | {"stages": {stage["stage"]: stage["seconds"] for stage in ours[0].answer["stages"]}},
        {"system": "MLlib ALS", "seconds": _median(theirs), "ndcg@10": figures["mllib-als"]["ndcg@10"]}
        | {"rows": theirs[0].answer["rows"], "short_users": theirs[0].answer["short_users"]},
        {"system": "implicit ALS (training only)", "seconds": figures["implicit-als"]["fit_seconds"]}
        | {"ndcg@10": figures["implicit-als"]["ndcg@10"]},
        {"system": "popularity", "seconds": 0.0, "ndcg@10": figures["popularity"]["ndcg@10"]},
    ]
    ratio = _median(ours) / _median(theirs)
    for row in rows:
        say(f"{row['system']:<30}{row['seconds']:8.1f} s   NDCG@10 {row['ndcg@10']:.4f}")
    say(f"kgspark's night takes {ratio:.2f} of MLlib ALS's time")
    return {"bench": "nightly", "settings": settings.model_dump(), "ratio": ratio, "rows": rows, "versions": versions()}


class _Timed:
    """A finished process: wall-clock seconds and the JSON object that it printed."""

    def __init__(self, seconds: float, answer: Any) -> None:
        self.seconds, self.answer = seconds, answer


def _timed(name: str, command: Sequence[str], say: Say) -> _Timed:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise StageError(f"bench: {name} failed: {' '.join(done.stderr.split())[-600:]}")
    say(f"  {name:<20}{seconds:8.1f} s")
    return _Timed(seconds, json.loads(done.stdout))


def _kgspark(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kgspark.cli", *arguments]


def _median(runs: Sequence[_Timed]) -> float:
    return statistics.median(run.seconds for run in runs)
