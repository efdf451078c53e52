"""bench index: the approximate kinds of search beside the exact one, on the vectors and histories of a night."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from kgspark import config
from kgspark.bench.night_side import NightSide, read_sides
from kgspark.config import Settings
from kgspark.graph.histories import Histories
from kgspark.retrieval.approximate import Recall, approximate_top_k, build_approximate, load_approximate
from kgspark.retrieval.index import FlatIndex
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.topk import Ranking, top_k
from kgspark.runs import versions
from kgspark.spark.session import usable_cores

Say = Callable[[str], None]
Row = dict[str, Any]


class IndexBenchSettings(Settings):
    """`kgspark bench index`: a sample of each ranked table's queries, ranked by every kind of search."""

    night: Path = Field(description="a night's folder, <lake>/runs/<run_date>")
    kinds: tuple[Literal["ivf", "hnsw", "pq"], ...] = Field(
        ("ivf", "hnsw", "pq"), description="beside the exact search"
    )
    tables: tuple[Literal["recommendations", "audiences"], ...] = Field(
        ("recommendations", "audiences"), description="which of the night's"
    )
    queries: int = Field(4096, ge=1, description="of each table, spread evenly")
    rounds: int = Field(3, ge=1, description="timed searches of each kind, in turn; the medians are told")
    index: IndexSettings = Field(default_factory=IndexSettings, description="as recommend.index; kind is ignored")


def run(overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """A row a table and kind: seconds to build and to rank, recall at K, and the size of the index."""
    settings = config.from_overrides(IndexBenchSettings, overrides)
    rows: list[Row] = []
    say(f"bench index: {settings.night}, {usable_cores()} cores")
    for table, side in read_sides(settings.night, usable_cores()).items():
        if table not in settings.tables:
            continue
        measured = _measured(side, settings)
        rows += [{"table": table, **row} for row in measured]
        say(f"{table}: {len(side.index):,} ranked, {measured[0]['queries']:,} queries, K = {side.k}")
        for row in measured:
            say(
                f"  {row['kind']:<5}{row['queries_per_second']:>12,.0f} queries/s{row['speedup']:>7.1f} x"
                f"{row['recall']:>9.4f} found{row['build_seconds']:>9.1f} s to build{row['bytes'] / 2**20:>8.0f} MiB"
            )
    return {
        "bench": "index",
        "settings": settings.model_dump(mode="json"),
        "cores": usable_cores(),
        "rows": rows,
        "versions": versions(),
    }


@dataclass(frozen=True)
class _Asked:
    """A sample of a side's queries float32 (B, d), and what they have seen."""

    index: FlatIndex
    queries: np.ndarray
    seen: Histories
    k: int


@dataclass(frozen=True)
class _Built:
    """A way to rank, what it took to build, and its bytes."""

    rank: Callable[[], Ranking]
    seconds: float
    bytes: int


def _measured(side: NightSide, settings: IndexBenchSettings) -> list[Row]:
    index = side.index
    chosen = np.unique(np.linspace(0, len(side.seen) - 1, settings.queries).astype(np.int64))
    asked = _Asked(index, side.asking[chosen], side.seen.pick(chosen), side.k)
    with tempfile.TemporaryDirectory(prefix="kgspark-bench-") as scratch:
        built = {"flat": _Built(lambda: top_k(index, asked.queries, asked.seen, side.k), 0.0, index.vectors.nbytes)}
        for kind in settings.kinds:
            of_kind = settings.index.model_copy(update={"kind": kind})
            if of_kind.kind_for(len(index)) != "flat":
                built[kind] = _build(asked, of_kind, Path(scratch) / kind)
        seconds, lists = _in_turn({kind: way.rank for kind, way in built.items()}, settings.rounds)
    medians = {kind: statistics.median(timed) for kind, timed in seconds.items()}
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


def _build(asked: _Asked, settings: IndexSettings, path: Path) -> _Built:
    began = time.perf_counter()
    build_approximate(path, asked.index, settings)
    seconds = time.perf_counter() - began
    found_by = load_approximate(path)
    rank = partial(approximate_top_k, asked.index, found_by, settings, asked.queries, asked.seen, asked.k)
    return _Built(rank, seconds, path.stat().st_size)


def _in_turn(
    ways: Mapping[str, Callable[[], Ranking]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Ranking]]:
    """Seconds by way and round, and each way's lists, after a round that is not timed."""
    seconds: dict[str, list[float]] = {kind: [] for kind in ways}
    lists = {kind: rank() for kind, rank in ways.items()}
    for _ in range(rounds):
        for kind, rank in ways.items():
            began = time.perf_counter()
            rank()
            seconds[kind].append(time.perf_counter() - began)
    return seconds, lists


def _recall(exact: Ranking, got: Ranking) -> float:
    recall = Recall()
    recall.count(exact, got)
    return recall.found / max(recall.listed, 1)
