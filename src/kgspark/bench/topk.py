"""bench topk: filtered top-K of many users beside implicit's, unfiltered FAISS, and Spark's recommendForAllUsers."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from kgspark import config
from kgspark.bench.bulk_ranking import implicit_top_k
from kgspark.bench.night_lists import compare_night
from kgspark.config import Settings
from kgspark.graph.histories import Histories
from kgspark.peers import mllib_als
from kgspark.retrieval.device import RankingDevice
from kgspark.retrieval.index import FlatIndex, build_index
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.settings import Device
from kgspark.retrieval.topk import top_k, top_k_of_scores
from kgspark.runs import versions
from kgspark.spark.ranking.task_gpu import task_gpu
from kgspark.spark.session import local_cores, plain_session, usable_cores
from kgspark.synthetic import SyntheticSettings, SyntheticWorld

Say = Callable[[str], None]
Row = dict[str, Any]

FAISS, OURS, IMPLICIT = "FAISS flat, nothing left out", "kgspark", "implicit topk"
ON_CUDA = "kgspark on CUDA"
MLLIB = "Spark recommendForAllUsers, nothing left out"


class TopKBenchSettings(Settings):
    """`kgspark bench topk`: random unit vectors, and histories of a synthetic world."""

    users: int = Field(20_000, ge=1, description="who ask")
    movies: int = Field(50_000, ge=1, description="what is ranked")
    dim: int = Field(128, ge=1, description="numbers a vector")
    k: int = Field(100, ge=1, description="length of the lists")
    seen: int = Field(2_000_000, ge=1, description="pairs of user and movie to be left out, with a long tail of users")
    block: int = Field(4096, ge=1, description="users ranked at a time, as recommend.block")
    rounds: int = Field(5, ge=1, description="timed runs of each system, in turn; the medians are told")
    checked: int = Field(1_000, ge=0, description="users whose lists are compared with all scores sorted")
    device: Device = Field("auto", description="as recommend.device: where a CUDA device is used, it has a row too")
    mllib: bool = Field(True, description="whether Spark's own is run, once")
    seed: int = Field(42, ge=0, description="of vectors and histories")
    night: Path | None = Field(
        None, description="a night's folder (<lake>/runs/<run_date>): its lists are compared with all scores sorted"
    )


def run(overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """A row a system. `ratios` are kgspark's seconds over each other system's."""
    settings = config.from_overrides(TopKBenchSettings, overrides)
    night = _night(settings, say)
    say(
        f"bench topk: {settings.users:,} users, {settings.movies:,} movies, {settings.dim} numbers, k = {settings.k}, "
        f"{settings.seen:,} seen, {usable_cores()} cores"
    )
    generator = np.random.default_rng(settings.seed)
    queries, items = (_unit(generator, count, settings.dim) for count in (settings.users, settings.movies))
    seen = _histories(settings)
    index = build_index(items, "inner_product", threads=usable_cores())
    ours = {OURS: index}
    engine = RankingDevice(settings.device, task_gpu)()
    if engine is not None:
        ours[ON_CUDA] = replace(index, engine=engine)
    exact = {name: _exact(each, queries, seen, settings) for name, each in ours.items()}
    for name, right in exact.items():
        say(f"{name}: {settings.checked:,} users' lists are {'' if right else 'NOT '}those of all scores sorted")
    systems: dict[str, Callable[[], object]] = {
        FAISS: lambda: index.search(queries, settings.k),
        **{name: partial(_ranked, each, queries, seen, settings) for name, each in ours.items()},
        IMPLICIT: lambda: implicit_top_k(items, queries, seen, settings.k, usable_cores()),
    }
    seconds = _in_turn(systems, settings.rounds)
    if settings.mllib:
        seconds[MLLIB] = [_mllib(queries, items, settings.k)]
    rows: list[Row] = []
    for name, timed in seconds.items():
        median = statistics.median(timed)
        rows.append({"system": name, "seconds": median, "rounds": timed, "users_per_second": settings.users / median})
        say(f"{name:<46}{median:>10.2f} s{settings.users / median:>12,.0f} users/s")
    median_of_ours = statistics.median(seconds[OURS])
    ratios = {name: median_of_ours / statistics.median(timed) for name, timed in seconds.items() if name != OURS}
    say("kgspark takes " + "; ".join(f"{ratio:.2f} of {name}" for name, ratio in ratios.items()))
    return {
        "bench": "topk",
        "settings": settings.model_dump(mode="json"),
        "cores": usable_cores(),
        "longest_history": int(seen.sizes.max()),
        "exact": all(exact.values()),
        "night": night,
        "ratios": ratios,
        "rows": rows,
        "versions": versions(),
    }


def _night(settings: TopKBenchSettings, say: Say) -> list[Row]:
    rows = compare_night(settings.night) if settings.night is not None else []
    for row in rows:
        say(
            f"{row['table']} of {settings.night}: of {row['lists']:,} lists {row['wrong']:,} differ from all scores "
            f"sorted, and {row['seen']:,} rows were seen"
        )
    return rows


def _unit(generator: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = generator.standard_normal((count, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _histories(settings: TopKBenchSettings) -> Histories:
    size = SyntheticSettings(ratings=settings.seen, users=settings.users, movies=settings.movies, seed=settings.seed)
    world = SyntheticWorld(size)
    sizes = world.block_sizes(np.array([world.block_weight(block) for block in range(world.blocks)]))
    drawn = [world.ratings(block, int(count)) for block, count in enumerate(sizes)]
    users, movies = (np.concatenate([getattr(part, name) for part in drawn]) for name in ("users", "movies"))
    counts = np.bincount(users, minlength=settings.users)
    return Histories(np.concatenate([[0], np.cumsum(counts)]), movies)


def _ranked(index: FlatIndex, queries: np.ndarray, seen: Histories, settings: TopKBenchSettings) -> None:
    for start in range(0, len(queries), settings.block):
        asked = np.arange(start, min(start + settings.block, len(queries)))
        top_k(index, queries[asked], seen.pick(asked), settings.k)


def _exact(index: FlatIndex, queries: np.ndarray, seen: Histories, settings: TopKBenchSettings) -> bool:
    """Whether the lists of some users, those with the longest histories among them, are all scores sorted."""
    chosen = np.argsort(-seen.sizes, kind="stable")[:: max(1, settings.users // max(settings.checked, 1))]
    chosen = chosen[: settings.checked]
    found = top_k(index, queries[chosen], seen.pick(chosen), settings.k)
    for part in np.array_split(np.arange(len(chosen)), max(1, len(chosen) // 50)):
        scores = score_all(index, queries[chosen[part]])
        wanted = top_k_of_scores(scores, seen.pick(chosen[part]), settings.k)
        if not np.array_equal(wanted.ids, found.ids[part]):
            return False
    return True


def _in_turn(systems: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each system and round, one system after the other, after a round that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds + 1):
        for name, ranked in systems.items():
            began = time.perf_counter()
            ranked()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _mllib(queries: np.ndarray, items: np.ndarray, k: int) -> float:
    """Seconds that MLlib's model takes to rank with the same factors, session start and factors aside."""
    master = f"local[{usable_cores()}]"
    with plain_session(master) as session:
        model = mllib_als.from_factors(session, queries, items, local_cores(master))
        began = time.perf_counter()
        model.recommendForAllUsers(k).write.format("noop").mode("overwrite").save()
        return time.perf_counter() - began
