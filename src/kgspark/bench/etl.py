"""bench etl: cleaning, indexing and triples of generated ratings beside DuckDB, and how time grows with the rows."""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from kgspark import config
from kgspark.bench.processes import duckdb_etl
from kgspark.bench.processes.etl import RUN_DATE
from kgspark.errors import StageError
from kgspark.experiments import generate
from kgspark.machine import peak_memory
from kgspark.runs import Run, versions
from kgspark.spark.session import usable_cores
from kgspark.spark.settings import TriplesSettings
from kgspark.synthetic import SyntheticSettings

Say = Callable[[str], None]
Row = dict[str, Any]
OURS, PEER = "kgspark", "DuckDB"


class EtlBenchSettings(SyntheticSettings):
    """`kgspark bench etl`: from ratings.csv to triple shards, each system and round a process of its own."""

    sizes: tuple[PositiveInt, ...] = Field(
        (), description="further numbers of ratings, with users and movies in proportion, for the growth of time"
    )
    rounds: int = Field(1, ge=1, description="measurements of each system and size, in turn; the medians are told")
    data: Path | None = Field(None, description="where generated folders stay for a later call; null for nowhere")

    @model_validator(mode="after")
    def _sizes_have_room(self) -> "EtlBenchSettings":
        for size in self.sizes:
            _world(self, size)
        return self


def run(overrides: Sequence[str], say: Say) -> Row:
    """A row a size and system. `ratio` is kgspark's seconds over DuckDB's at the size named `ratings`.

    `growth` is by system the exponent of time over rows (least squares of the logarithms), null for a single size.
    """
    settings = config.from_overrides(EtlBenchSettings, overrides)
    sizes = sorted({*settings.sizes, settings.ratings})
    say(f"bench etl: {', '.join(f'{size:,}' for size in sizes)} ratings, {usable_cores()} cores, session start aside")
    with tempfile.TemporaryDirectory(prefix="kgspark-bench-") as scratch:
        folders = {size: _generated(settings, size, Path(scratch), say) for size in sizes}
        rows, found = [], []
        for size, folder in folders.items():
            measured, differing = _measured(folder, size, settings.rounds, Path(scratch), say)
            rows += measured
            found += [f"{size:,} ratings: {text}" for text in differing]
    say("the tables are equal" if not found else "THE TABLES DIFFER: " + "; ".join(found))
    seconds = {
        system: {row["ratings"]: row["seconds"] for row in rows if row["system"] == system} for system in (OURS, PEER)
    }
    ratio = seconds[OURS][settings.ratings] / seconds[PEER][settings.ratings]
    growth = {system: exponent(by_size) for system, by_size in seconds.items()}
    say(f"kgspark takes {ratio:.2f} times DuckDB's time for {settings.ratings:,} ratings")
    if growth[OURS] is not None:
        say("time grows with rows to the " + ", ".join(f"{value:.2f} ({name})" for name, value in growth.items()))
    return {
        "bench": "etl",
        "settings": settings.model_dump(mode="json"),
        "cores": usable_cores(),
        "equal": not found,
        "differences": found,
        "ratio": ratio,
        "growth": growth,
        "rows": rows,
        "versions": versions(),
    }


def exponent(seconds: dict[int, float]) -> float | None:
    """The exponent e of seconds ≈ c · rows^e, by least squares of the logarithms; None of a single size."""
    if len(seconds) < 2:
        return None
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def _world(settings: EtlBenchSettings, ratings: int) -> SyntheticSettings:
    """As many users and movies for each rating as the settings have."""
    users, movies = (-(-count * ratings // settings.ratings) for count in (settings.users, settings.movies))
    return SyntheticSettings(ratings=ratings, users=users, movies=movies, seed=settings.seed)


def _generated(settings: EtlBenchSettings, ratings: int, scratch: Path, say: Say) -> Path:
    world = _world(settings, ratings)
    name = f"{world.ratings}-{world.users}-{world.movies}-{world.seed}"
    folder = (settings.data or scratch / "data") / name
    if not folder.exists():
        generate.run(str(folder), [f"{key}={value}" for key, value in world.model_dump().items()], say)
    return folder


def _measured(folder: Path, ratings: int, rounds: int, scratch: Path, say: Say) -> tuple[list[Row], list[str]]:
    """A row a system, and what differs between their tables."""
    lake, out, cores = scratch / "lake", scratch / "duckdb", str(usable_cores())
    commands = {
        OURS: ["kgspark.bench.processes.etl", str(folder), str(lake), f"local[{cores}]"],
        PEER: [
            "kgspark.bench.processes.duckdb_etl",
            *(str(folder), str(out), cores, str(TriplesSettings().rows_per_shard)),
        ],
    }
    answers: dict[str, list[Row]] = {name: [] for name in commands}
    for _ in range(rounds):  # in turn, so that a slow minute of the machine meets both
        for written in (lake, out):
            shutil.rmtree(written, ignore_errors=True)
        for name, command in commands.items():
            answers[name].append(_answer(name, command))
    differing = duckdb_etl.differences(Run(lake, RUN_DATE).folder, out)
    rows = [_row(name, ratings, told) for name, told in answers.items()]
    for row in rows:
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["stages"].items())
        say(f"{row['ratings']:>12,}  {row['system']:<10}{row['seconds']:>8.1f} s   {stages}")
    return rows, differing


def _row(name: str, ratings: int, answers: Sequence[Row]) -> Row:
    rounds = [sum(answer["seconds"].values()) for answer in answers]
    stages = {stage: statistics.median(a["seconds"][stage] for a in answers) for stage in answers[0]["seconds"]}
    row = {"system": name, "ratings": ratings, "seconds": statistics.median(rounds), "rounds": rounds, "stages": stages}
    row["peak_bytes"] = max(answer["process_peak_bytes"] for answer in answers)
    if name == OURS:
        row["heap_peak_bytes"] = max(answer["heap_peak_bytes"] for answer in answers)
        row["stage_peak_bytes"] = answers[-1]["peak_bytes"]
    return row


def _answer(name: str, command: Sequence[str]) -> Row:
    """What the process printed, and the most memory that it and its children held."""
    with (
        subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        peak_memory(process.pid) as peak,
    ):
        out, err = process.communicate()
    if process.returncode:
        raise StageError(f"bench: {name} failed: {' '.join(err.split())[-600:]}")
    answer: Row = json.loads(out)
    return answer | {"process_peak_bytes": peak.bytes}
