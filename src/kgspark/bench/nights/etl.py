"""bench etl: cleaning, indexing and triples of generated ratings, compared with DuckDB, and the growth of time."""

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from kgspark.bench.common import Finished, Row, Say, run_process, scratch_folder
from kgspark.bench.nights.processes import duckdb_etl
from kgspark.bench.nights.processes.etl import RUN_DATE
from kgspark.experiments import generate
from kgspark.runs import Run
from kgspark.spark.graph.settings import TriplesSettings
from kgspark.spark.session import usable_cores
from kgspark.synthetic import SyntheticSettings

OURS, PEER = "kgspark", "DuckDB"


class EtlBenchSettings(SyntheticSettings):
    """`kgspark bench etl`: from ratings.csv to triple shards, with a process per system and round."""

    sizes: tuple[PositiveInt, ...] = Field(
        (), description="further numbers of ratings, with users and movies in proportion, for the growth of time"
    )
    rounds: int = Field(1, ge=1, description="measurements of each system and size, in turn; the medians are reported")
    data: Path | None = Field(
        None, description="folder that keeps the generated data for a later call; null keeps nothing"
    )

    @model_validator(mode="after")
    def _sizes_have_room(self) -> "EtlBenchSettings":
        for size in self.sizes:
            _world(self, size)
        return self


SETTINGS = EtlBenchSettings


def run(settings: EtlBenchSettings, say: Say) -> Row:
    """One row per size and system. `ratio` is kgspark's seconds over DuckDB's at the size named `ratings`.

    `growth` is, by system, the exponent of time over rows (least squares of the logarithms), null for a single size.
    `differences` lists the differences between the tables of the two systems.
    """
    sizes = sorted({*settings.sizes, settings.ratings})
    say(f"bench etl: {', '.join(f'{size:,}' for size in sizes)} ratings, {usable_cores()} cores, without session start")
    rows: list[Row] = []
    found: list[str] = []
    with scratch_folder() as scratch:
        folders = {size: _generate(settings, size, scratch, say) for size in sizes}
        for size, folder in folders.items():
            measured, differing = _measure(folder, size, settings.rounds, scratch)
            for row in measured:
                say(_line(row))
            rows += measured
            found += [f"{size:,} ratings: {text}" for text in differing]
    say("the tables are equal" if not found else "THE TABLES DIFFER: " + "; ".join(found))
    return {"equal": not found, "differences": found, **_comparison(rows, settings.ratings, say), "rows": rows}


def _comparison(rows: Sequence[Row], size: int, say: Say) -> Row:
    """`ratio` and `growth` of the rows."""
    seconds = {
        system: {row["ratings"]: row["seconds"] for row in rows if row["system"] == system} for system in (OURS, PEER)
    }
    ratio = seconds[OURS][size] / seconds[PEER][size]
    growth = {system: exponent(by_size) for system, by_size in seconds.items()}
    say(f"kgspark takes {ratio:.2f} times DuckDB's time for {size:,} ratings")
    if growth[OURS] is not None:
        say("time grows with rows to the " + ", ".join(f"{value:.2f} ({name})" for name, value in growth.items()))
    return {"ratio": ratio, "growth": growth}


def exponent(seconds: dict[int, float]) -> float | None:
    """The exponent e of seconds ≈ c · rows^e, by least squares of the logarithms; None for a single size."""
    if len(seconds) < 2:
        return None
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def _world(settings: EtlBenchSettings, ratings: int) -> SyntheticSettings:
    """A world of another size, with users and movies in proportion."""
    users, movies = (-(-count * ratings // settings.ratings) for count in (settings.users, settings.movies))
    return SyntheticSettings(ratings=ratings, users=users, movies=movies, seed=settings.seed)


def _generate(settings: EtlBenchSettings, ratings: int, scratch: Path, say: Say) -> Path:
    world = _world(settings, ratings)
    name = f"{world.ratings}-{world.users}-{world.movies}-{world.seed}"
    folder = (settings.data or scratch / "data") / name
    if not folder.exists():
        generate.run(str(folder), [f"{key}={value}" for key, value in world.model_dump().items()], say)
    return folder


def _measure(folder: Path, ratings: int, rounds: int, scratch: Path) -> tuple[list[Row], list[str]]:
    """One row per system, and the differences between their tables."""
    lake, out, cores = scratch / "lake", scratch / "duckdb", str(usable_cores())
    arguments = {
        OURS: ("kgspark.bench.nights.processes.etl", str(folder), str(lake), f"local[{cores}]"),
        PEER: (
            "kgspark.bench.nights.processes.duckdb_etl",
            *(str(folder), str(out), cores, str(TriplesSettings().rows_per_shard)),
        ),
    }
    runs: dict[str, list[Finished]] = {name: [] for name in arguments}
    for _ in range(rounds):  # in turn, so that a slow minute of the machine affects both
        for written in (lake, out):
            shutil.rmtree(written, ignore_errors=True)
        for name, (module, *given) in arguments.items():
            runs[name].append(run_process(name, module, *given))
    differing = duckdb_etl.differences(Run(lake, RUN_DATE).folder, out)
    return [_row(name, ratings, own) for name, own in runs.items()], differing


def _row(name: str, ratings: int, runs: Sequence[Finished]) -> Row:
    answers = [run.answer for run in runs]
    rounds = [sum(answer["seconds"].values()) for answer in answers]
    stages = {stage: statistics.median(a["seconds"][stage] for a in answers) for stage in answers[0]["seconds"]}
    row = {"system": name, "ratings": ratings, "seconds": statistics.median(rounds), "rounds": rounds, "stages": stages}
    row["peak_bytes"] = max(run.peak_bytes for run in runs)
    if name == OURS:
        row["heap_peak_bytes"] = max(answer["heap_peak_bytes"] for answer in answers)
        row["stage_peak_bytes"] = answers[-1]["peak_bytes"]
    return row


def _line(row: Row) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["stages"].items())
    return f"{row['ratings']:>12,}  {row['system']:<10}{row['seconds']:>8.1f} s   {stages}"
