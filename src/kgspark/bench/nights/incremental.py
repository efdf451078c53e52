"""bench incremental: nights that add a few ratings to the last night's, compared with full nights of the same files.

Two lakes begin with the same night of the earliest ratings. Then the latest ratings arrive in slices, one file per
night. Both lakes run a night after each file, in turn: one by taking over what has not changed, one from nothing.
"""

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
from pydantic import Field

from kgspark.bench.common import BUNDLED, Finished, Row, Say, Source, night_settings, run_process, scratch_folder
from kgspark.config import Settings
from kgspark.night.default_graph import DEFAULT_RELATIONS
from kgspark.night.night import open_night
from kgspark.runs import Run
from kgspark.spark.session import usable_cores
from kgspark.stages import clean_ratings
from kgspark.tables import MOVIES, RATINGS, RECOMMENDATIONS, USERS, Columns

INCREMENTAL, FULL = "incremental night", "full night"
_OVERRIDES = {
    INCREMENTAL: ("train.warm_start=latest",),
    FULL: ("train.warm_start=none", "clean.incremental=false"),
}


class IncrementalBenchSettings(Settings):
    """`kgspark bench incremental`: nights that add a few ratings, against full nights of the same files."""

    source: Source = BUNDLED
    share: float = Field(
        0.01, gt=0, lt=0.5, description="fraction of all ratings that each night adds, the latest ones"
    )
    nights: int = Field(
        3, ge=1, le=27, description="nights after the first; each adds a file, and the median is reported"
    )
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for all nights")


SETTINGS = IncrementalBenchSettings


def run(settings: IncrementalBenchSettings, say: Say) -> Row:
    """One row per kind of night: median seconds of whole processes and of stages, NDCG@10 and churn of every night.

    `ratio` is the seconds of the incremental nights over those of the full ones.
    """
    say(f"bench incremental: {settings.source}, {settings.nights} night(s) that add {settings.share:.1%} each")
    with scratch_folder() as scratch:
        slices, sections = _prepare(settings, scratch)
        conf = scratch / "night.yaml"
        conf.write_text(json.dumps(sections), encoding="utf-8")  # JSON is YAML
        common = [str(conf), f"spark.master=local[{usable_cores()}]", *settings.overrides]
        lakes = {kind: scratch / kind.replace(" ", "-") for kind in (INCREMENTAL, FULL)}
        _deliver(slices[0], sections, 0)
        _night(say, FULL, 0, lakes[FULL], common)
        shutil.copytree(lakes[FULL], lakes[INCREMENTAL])
        nights: dict[str, list[Finished]] = {INCREMENTAL: [], FULL: []}
        for number, rows in enumerate(slices[1:], 1):
            _deliver(rows, sections, number)
            for kind in nights:
                nights[kind].append(_night(say, kind, number, lakes[kind], common))
    rows = [_row(kind, finished) for kind, finished in nights.items()]
    for row in rows:
        quality, churn = (", ".join(f"{value:.4f}" for value in row[name]) for name in ("ndcg@10", "list_churn"))
        say(f"{row['system']:<20}{row['seconds']:8.1f} s   NDCG@10 {quality}   churn {churn}")
    ratio = rows[0]["seconds"] / rows[1]["seconds"]
    say(f"an incremental night takes {ratio:.2f} times as long as a full one")
    return {"ratio": ratio, "rows": rows}


def _prepare(settings: IncrementalBenchSettings, scratch: Path) -> tuple[list[pa.Table], dict[str, Any]]:
    """The ratings by time, cut into the first night's and a slice per further night, and a configuration for them.

    Users become a table of the user's own, because only MovieLens's own files have a table users.
    """
    with open_night(night_settings(settings.source, scratch / "prepared", ()), lambda _: None) as night:
        clean_ratings.run(night)
        run = night.run
    source: dict[str, Any] = {
        "path": str(scratch / "ratings"),
        "format": "table",
        "movies": str(scratch / "movies.csv"),
    }
    Path(source["path"]).mkdir()
    movies = _read(run, MOVIES)
    genres = pc.binary_join(movies[Columns.GENRES], "|")
    csv.write_csv(movies.select([Columns.MOVIE_ID, Columns.TITLE]).append_column("genres", genres), source["movies"])
    relations: dict[str, Any] = {}
    if run.table(USERS).exists():
        csv.write_csv(_read(run, USERS), scratch / "people.csv")
        source["tables"] = {"people": {"path": str(scratch / "people.csv")}}
        of_users = {name: relation for name, relation in DEFAULT_RELATIONS.items() if relation["table"] == USERS}
        relations = {name: relation | {"table": "people"} for name, relation in of_users.items()}
    ids = run.manifest(RATINGS).details["id_type"]
    source["ids"] = "integer" if ids == "bigint" else "string"
    ratings = _read(run, RATINGS).sort_by([(Columns.TIMESTAMP, "ascending"), (Columns.USER_ID, "ascending")])
    size = max(1, round(settings.share * ratings.num_rows))
    first = ratings.num_rows - settings.nights * size
    slices = [ratings.slice(0, first), *(ratings.slice(start, size) for start in range(first, ratings.num_rows, size))]
    shutil.rmtree(scratch / "prepared")
    return slices, {"source": source, "relations": relations}


def _read(run: Run, table: str) -> pa.Table:
    return pq.read_table(run.table(table)).combine_chunks()


def _deliver(rows: pa.Table, sections: dict[str, Any], number: int) -> None:
    """Adds a file of ratings to the source."""
    csv.write_csv(rows, Path(sections["source"]["path"]) / f"ratings-{number:03d}.csv")


def _night(say: Say, kind: str, number: int, lake: Path, common: Sequence[str]) -> Finished:
    where = (f"lake={lake}", f"run_date=2026-01-{number + 1:02d}", *_OVERRIDES[kind])
    process = run_process(kind, "kgspark.cli", "--json", "nightly", *common, *where)
    say(f"  {kind} {number:<4}{process.seconds:8.1f} s")
    return process


def _row(kind: str, nights: Sequence[Finished]) -> Row:
    seconds = [{stage["stage"]: stage["seconds"] for stage in night.answer["stages"]} for night in nights]
    return {
        "system": kind,
        "seconds": statistics.median(night.seconds for night in nights),
        "stages": {stage: statistics.median(times[stage] for times in seconds) for stage in seconds[0]},
        "ndcg@10": [night.answer["metrics"]["model"]["ndcg@10"] for night in nights],
        "list_churn": [night.answer["list_churn"][RECOMMENDATIONS] for night in nights],
    }
