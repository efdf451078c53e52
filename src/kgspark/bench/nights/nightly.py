"""bench nightly: a whole night compared with MLlib ALS, each in its own process, with medians over rounds."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from kgspark.bench.common import BUNDLED, Finished, Row, Say, Source, run_process, scratch_folder
from kgspark.config import Settings
from kgspark.spark.session import usable_cores

OURS, MLLIB = "kgspark nightly", "MLlib ALS"


class NightlyBenchSettings(Settings):
    """`kgspark bench nightly`: from ratings file to published top-K, against MLlib ALS for the same table."""

    source: Source = BUNDLED
    k: int = Field(100, ge=1, description="movies per user")
    rounds: int = Field(1, ge=1, description="measurements of each system; the median is reported")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for the night")


SETTINGS = NightlyBenchSettings


def run(settings: NightlyBenchSettings, say: Say) -> Row:
    """One row per system: seconds of whole processes, and NDCG@10. `ratio` is ours over MLlib ALS's."""
    master = f"local[{usable_cores()}]"
    say(f"bench nightly: {settings.source}, K = {settings.k}, {master}, {settings.rounds} round(s)")
    with scratch_folder() as scratch:
        night = [_configuration(settings, scratch), f"recommend.k={settings.k}", f"spark.master={master}"]
        night += settings.overrides
        ours, theirs = [], []
        for number in range(settings.rounds):  # in turn, so that a slow minute of the machine affects both
            lake, out = scratch / f"lake-{number}", scratch / f"als-{number}"
            ours.append(_run(say, OURS, "kgspark.cli", "--json", "nightly", *night, f"lake={lake}"))
            als = (settings.source, str(out), str(settings.k), master)
            theirs.append(_run(say, MLLIB, "kgspark.bench.nights.processes.als", *als))
        measured = (*night, f"lake={scratch / 'lake-0'}", "evaluate.baselines=[popularity, implicit-als, mllib-als]")
        quality = _run(say, "evaluate", "kgspark.cli", "--json", "evaluate", *measured)
    rows = _rows(ours, theirs, {row["model"]: row for row in quality.answer["rows"]})
    for row in rows:
        say(f"{row['system']:<30}{row['seconds']:8.1f} s   NDCG@10 {row['ndcg@10']:.4f}")
    ratio = _median(ours) / _median(theirs)
    say(f"kgspark's night takes {ratio:.2f} times as long as MLlib ALS")
    return {"ratio": ratio, "rows": rows}


def _configuration(settings: NightlyBenchSettings, scratch: Path) -> str:
    path = scratch / "night.yaml"
    path.write_text(json.dumps({"source": {"path": settings.source}}), encoding="utf-8")  # JSON is YAML
    return str(path)


def _run(say: Say, name: str, module: str, *arguments: str) -> Finished:
    process = run_process(name, module, *arguments)
    say(f"  {name:<20}{process.seconds:8.1f} s")
    return process


def _rows(ours: Sequence[Finished], theirs: Sequence[Finished], quality: dict[str, Row]) -> list[Row]:
    """Times of the two systems, and the quality of both and of the peers that `kgspark evaluate` fitted."""
    stages = {stage["stage"]: stage["seconds"] for stage in ours[0].answer["stages"]}
    return [
        {"system": OURS, "seconds": _median(ours), "ndcg@10": quality["kgspark"]["ndcg@10"], "stages": stages},
        {"system": MLLIB, "seconds": _median(theirs), "ndcg@10": quality["mllib-als"]["ndcg@10"], **theirs[0].answer},
        {"system": "implicit ALS (training only)", "seconds": quality["implicit-als"]["fit_seconds"]}
        | {"ndcg@10": quality["implicit-als"]["ndcg@10"]},
        {"system": "popularity", "seconds": 0.0, "ndcg@10": quality["popularity"]["ndcg@10"]},
    ]


def _median(runs: Sequence[Finished]) -> float:
    return statistics.median(run.seconds for run in runs)
