"""bench executors: the recommend stage in one process, on executors of its own, and on a cluster's; the same bytes."""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from kgspark import config
from kgspark.bench.settings import night_settings
from kgspark.config import Settings
from kgspark.files import DataFile
from kgspark.night.night import Night, open_night
from kgspark.night.reads import ranked_tables
from kgspark.night.settings import NightSettings
from kgspark.runs import versions
from kgspark.spark.session import usable_cores
from kgspark.stages import clean_ratings, index_entities, recommend, train_embeddings, write_triples

Say = Callable[[str], None]
Row = dict[str, Any]
# Name, size and SHA-256 of every file, by table.
Files = dict[str, list[DataFile]]


class ExecutorsBenchSettings(Settings):
    """`kgspark bench executors`: one night, ranked on several masters."""

    source: str = Field("tests/data/ml-latest-small", description="a MovieLens folder")
    masters: tuple[str, ...] = Field(
        ("local[1]", "local[2]", "local-cluster[1,1,1024]", "local-cluster[2,1,1024]"),
        min_length=1,
        description="as spark.master: local[N], local-cluster[executors,cores,MiB], spark://host:port; the first is "
        "what the others are compared with",
    )
    rounds: int = Field(3, ge=1, description="timed runs in each session, after one that is not; the medians are told")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for the night")


def run(overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """A row a master: seconds of the stage, how many times as fast as the first one, and whether its bytes are."""
    settings = config.from_overrides(ExecutorsBenchSettings, overrides)
    say(f"bench executors: {settings.source}, {usable_cores()} cores")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="kgspark-bench-") as scratch:
        of_night = night_settings(settings.source, Path(scratch), settings.overrides)
        with open_night(of_night, say) as night:
            for stage in (clean_ratings, index_entities, write_triples, train_embeddings):
                stage.run(night)
        expected: Files | None = None
        for master in settings.masters:
            seconds, files = _ranked(of_night, master, settings.rounds)
            expected = files if expected is None else expected
            rows.append(_row(master, seconds, files == expected, rows[0]["seconds"] if rows else None))
            say(
                f"{master:<30}{rows[-1]['seconds']:>8.1f} s{rows[-1]['speedup']:>7.2f} x   "
                f"{'the same bytes' if rows[-1]['same_bytes'] else 'OTHER BYTES'}"
            )
    return {
        "bench": "executors",
        "settings": settings.model_dump(mode="json"),
        "cores": usable_cores(),
        "rows": rows,
        "versions": versions(),
    }


def _ranked(settings: NightSettings, master: str, rounds: int) -> tuple[list[float], Files]:
    """Seconds of the timed runs of the stage in one session on `master`, and what the last one wrote."""
    spark = settings.spark.model_copy(update={"master": master})
    seconds: list[float] = []
    with open_night(settings.model_copy(update={"spark": spark}), lambda text: None) as night:
        for _ in range(rounds + 1):
            for table in ranked_tables(night):
                shutil.rmtree(night.run.table(table), ignore_errors=True)
            seconds.append(recommend.run(night).seconds)
        return seconds[1:], _files(night)


def _files(night: Night) -> Files:
    return {table: list(night.run.manifest(table).files) for table in ranked_tables(night)}


def _row(master: str, seconds: list[float], same: bool, first: float | None) -> Row:
    median = statistics.median(seconds)
    return {
        "master": master,
        "seconds": median,
        "rounds": seconds,
        "speedup": 1.0 if first is None else first / median,
        "same_bytes": same,
    }
