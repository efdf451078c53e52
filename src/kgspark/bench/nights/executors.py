"""bench executors: the recommend stage in one process, on local executors, and on a cluster; the bytes are equal."""

import shutil
import statistics

from pydantic import Field

from kgspark.bench.common import BUNDLED, Row, Say, Source, night_settings, scratch_folder, write_graph
from kgspark.config import Settings
from kgspark.files import DataFile
from kgspark.night.night import Night, open_night
from kgspark.night.reads import ranked_tables
from kgspark.night.settings import NightSettings
from kgspark.spark.session import usable_cores
from kgspark.stages import recommend, train_embeddings

# Name, size and SHA-256 of every file, by table.
Files = dict[str, list[DataFile]]


class ExecutorsBenchSettings(Settings):
    """`kgspark bench executors`: one night, ranked on several masters."""

    source: Source = BUNDLED
    masters: tuple[str, ...] = Field(
        ("local[1]", "local[2]", "local-cluster[1,1,1024]", "local-cluster[2,1,1024]"),
        min_length=1,
        description="as spark.master: local[N], local-cluster[executors,cores,MiB], spark://host:port; all others are "
        "compared with the first",
    )
    rounds: int = Field(
        3, ge=1, description="timed runs in each session, after one that is not timed; the medians are reported"
    )
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for the night")


SETTINGS = ExecutorsBenchSettings


def run(settings: ExecutorsBenchSettings, say: Say) -> Row:
    """One row per master: seconds of the stage, the speed-up over the first master, and if the bytes are the same."""
    say(f"bench executors: {settings.source}, {usable_cores()} cores")
    rows: list[Row] = []
    with scratch_folder() as scratch:
        of_night = night_settings(settings.source, scratch, settings.overrides)
        with open_night(of_night, say) as night:
            write_graph(night)
            train_embeddings.run(night)
        expected: Files | None = None
        for master in settings.masters:
            seconds, files = _rank(of_night, master, settings.rounds)
            expected = files if expected is None else expected
            rows.append(_row(master, seconds, files == expected, rows[0]["seconds"] if rows else None))
            say(_line(rows[-1]))
    return {"rows": rows}


def _rank(settings: NightSettings, master: str, rounds: int) -> tuple[list[float], Files]:
    """Seconds of the timed runs of the stage in one session on `master`, and the files of the last run."""
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


def _line(row: Row) -> str:
    bytes_are = "the same bytes" if row["same_bytes"] else "OTHER BYTES"
    return f"{row['master']:<30}{row['seconds']:>8.1f} s{row['speedup']:>7.2f} x   {bytes_are}"
