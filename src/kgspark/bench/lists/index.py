"""bench index: the approximate kinds of search compared with the exact one, on a night's vectors and histories."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from kgspark.bench.common import Row, Say, in_turn, scratch_folder, seconds_of
from kgspark.bench.lists.night_side import NightSide, read_sides
from kgspark.config import Settings
from kgspark.graph.histories import Histories
from kgspark.retrieval.approximate import Recall, approximate_top_k, build_approximate, load_approximate
from kgspark.retrieval.index import FlatIndex
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.topk import Ranking, top_k
from kgspark.spark.session import usable_cores


class IndexBenchSettings(Settings):
    """`kgspark bench index`: a sample of each ranked table's queries, ranked by every kind of search."""

    night: Path = Field(description="a night's folder, <lake>/runs/<run_date>")
    kinds: tuple[Literal["ivf", "hnsw", "pq"], ...] = Field(
        ("ivf", "hnsw", "pq"), description="kinds of search to compare with the exact one"
    )
    tables: tuple[Literal["recommendations", "audiences"], ...] = Field(
        ("recommendations", "audiences"), description="ranked tables of the night"
    )
    queries: int = Field(4096, ge=1, description="number of queries from each table, evenly spread over it")
    rounds: int = Field(3, ge=1, description="timed searches of each kind, in turn; the medians are reported")
    index: IndexSettings = Field(default_factory=IndexSettings, description="as recommend.index; kind is ignored")


SETTINGS = IndexBenchSettings


def run(settings: IndexBenchSettings, say: Say) -> Row:
    """One row per table and kind: seconds to build and to rank, recall at K, and the size of the index."""
    rows: list[Row] = []
    say(f"bench index: {settings.night}, {usable_cores()} cores")
    for table, side in read_sides(settings.night, usable_cores()).items():
        if table not in settings.tables:
            continue
        measured = _measure(side, settings)
        rows += [{"table": table, **row} for row in measured]
        say(f"{table}: {len(side.index):,} ranked, {measured[0]['queries']:,} queries, K = {side.k}")
        for row in measured:
            say(_line(row))
    return {"rows": rows}


def _line(row: Row) -> str:
    return (
        f"  {row['kind']:<5}{row['queries_per_second']:>12,.0f} queries/s{row['speedup']:>7.1f} x"
        f"{row['recall']:>9.4f} found{row['build_seconds']:>9.1f} s to build{row['bytes'] / 2**20:>8.0f} MiB"
    )


@dataclass(frozen=True)
class _Sample:
    """A sample of a table's queries float32 (B, d), and the rows that they have seen."""

    index: FlatIndex
    queries: np.ndarray
    seen: Histories
    k: int


@dataclass(frozen=True)
class _Built:
    """A function that ranks, the seconds to build its index, and the index's bytes."""

    rank: Callable[[], Ranking]
    seconds: float
    bytes: int


def _measure(side: NightSide, settings: IndexBenchSettings) -> list[Row]:
    index = side.index
    chosen = np.unique(np.linspace(0, len(side.seen) - 1, settings.queries).astype(np.int64))
    sample = _Sample(index, side.queries[chosen], side.seen.pick(chosen), side.k)
    with scratch_folder() as scratch:
        built = _build_all(sample, settings, scratch)
        lists = {kind: way.rank() for kind, way in built.items()}
        seconds = in_turn({kind: partial(seconds_of, way.rank) for kind, way in built.items()}, settings.rounds)
    medians = {kind: statistics.median(of_kind) for kind, of_kind in seconds.items()}
    return [
        {
            "kind": kind,
            "queries": len(chosen),
            "ranked": len(index),
            "seconds": median,
            "rounds": seconds[kind],
            "queries_per_second": len(chosen) / median,
            "speedup": medians["flat"] / median,
            "recall": _recall(lists["flat"], lists[kind]),
            "build_seconds": built[kind].seconds,
            "bytes": built[kind].bytes,
        }
        for kind, median in medians.items()
    ]


def _build_all(sample: _Sample, settings: IndexBenchSettings, scratch: Path) -> dict[str, _Built]:
    """The exact search, and those of `kinds` that are usable for an index of this size."""
    exact = partial(top_k, sample.index, sample.queries, sample.seen, sample.k)
    built = {"flat": _Built(exact, 0.0, sample.index.vectors.nbytes)}
    for kind in settings.kinds:
        of_kind = settings.index.model_copy(update={"kind": kind})
        if of_kind.kind_for(len(sample.index)) != "flat":
            built[kind] = _build(sample, of_kind, scratch / kind)
    return built


def _build(sample: _Sample, settings: IndexSettings, path: Path) -> _Built:
    seconds = seconds_of(partial(build_approximate, path, sample.index, settings))
    rank = partial(
        approximate_top_k, sample.index, load_approximate(path), settings, sample.queries, sample.seen, sample.k
    )
    return _Built(rank, seconds, path.stat().st_size)


def _recall(exact: Ranking, got: Ranking) -> float:
    recall = Recall()
    recall.count(exact, got)
    return recall.found / max(recall.listed, 1)
