"""bench topk: filtered top-K of many users, by kgspark, implicit, unfiltered FAISS and Spark's recommendForAllUsers."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from implicit.cpu.topk import topk
from pydantic import Field

from kgspark.bench.common import Row, Say, in_turn, seconds_of
from kgspark.bench.generated import generated_histories
from kgspark.bench.lists.night_lists import compare_night
from kgspark.config import Settings
from kgspark.graph.histories import Histories
from kgspark.peers import mllib_als
from kgspark.peers.item_to_item import like_matrix
from kgspark.retrieval.device import RankingDevice
from kgspark.retrieval.index import FlatIndex, build_index
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.settings import Device
from kgspark.retrieval.topk import top_k, top_k_of_scores
from kgspark.spark.ranking.task_gpu import task_gpu
from kgspark.spark.session import local_cores, plain_session, usable_cores
from kgspark.synthetic import SyntheticSettings

FAISS, OURS, IMPLICIT = "FAISS flat, nothing left out", "kgspark", "implicit topk"
ON_CUDA = "kgspark on CUDA"
MLLIB = "Spark recommendForAllUsers, nothing left out"


class TopKBenchSettings(Settings):
    """`kgspark bench topk`: random unit vectors, and histories of a synthetic world."""

    users: int = Field(20_000, ge=1, description="users to rank for")
    movies: int = Field(50_000, ge=1, description="movies to rank")
    dim: int = Field(128, ge=1, description="numbers per vector")
    k: int = Field(100, ge=1, description="length of the lists")
    seen: int = Field(
        2_000_000, ge=1, description="pairs of user and movie to leave out of the lists, with a long tail of users"
    )
    block: int = Field(4096, ge=1, description="users ranked at a time, as recommend.block")
    rounds: int = Field(5, ge=1, description="timed runs of each system, in turn; the medians are reported")
    checked: int = Field(1_000, ge=0, description="users whose lists are compared with all scores sorted")
    device: Device = Field("auto", description="as recommend.device; a CUDA device gets a separate row")
    mllib: bool = Field(True, description="run Spark's recommendForAllUsers too, once")
    seed: int = Field(42, ge=0, description="seed of vectors and histories")
    night: Path | None = Field(
        None, description="a night's folder (<lake>/runs/<run_date>): its lists are compared with all scores sorted"
    )


SETTINGS = TopKBenchSettings


def run(settings: TopKBenchSettings, say: Say) -> Row:
    """One row per system. `ratios` are kgspark's seconds over each other system's."""
    night = _compare_night(settings, say)
    say(
        f"bench topk: {settings.users:,} users, {settings.movies:,} movies, {settings.dim} numbers, k = {settings.k}, "
        f"{settings.seen:,} seen, {usable_cores()} cores"
    )
    generator = np.random.default_rng(settings.seed)
    queries, items = (_unit_vectors(generator, count, settings.dim) for count in (settings.users, settings.movies))
    size = SyntheticSettings(ratings=settings.seen, users=settings.users, movies=settings.movies, seed=settings.seed)
    seen = generated_histories(size)
    ours = _our_indexes(items, settings)
    exact = {name: _is_exact(index, queries, seen, settings) for name, index in ours.items()}
    for name, right in exact.items():
        say(f"{name}: {settings.checked:,} users' lists are {'' if right else 'NOT '}those of all scores sorted")
    systems: dict[str, Callable[[], object]] = {
        FAISS: partial(ours[OURS].search, queries, settings.k),
        **{name: partial(_rank, index, queries, seen, settings) for name, index in ours.items()},
        IMPLICIT: partial(implicit_top_k, items, queries, seen, settings.k, usable_cores()),
    }
    seconds = in_turn({name: partial(seconds_of, system) for name, system in systems.items()}, settings.rounds)
    if settings.mllib:
        seconds[MLLIB] = [_mllib_seconds(queries, items, settings.k)]
    figures = _compare_systems(seconds, settings, say)
    return {"longest_history": int(seen.sizes.max()), "exact": all(exact.values()), "night": night, **figures}


def _compare_systems(seconds: dict[str, list[float]], settings: TopKBenchSettings, say: Say) -> Row:
    """`ratios` and `rows`."""
    rows: list[Row] = []
    for name, rounds in seconds.items():
        median = statistics.median(rounds)
        rows.append({"system": name, "seconds": median, "rounds": rounds, "users_per_second": settings.users / median})
        say(f"{name:<46}{median:>10.2f} s{settings.users / median:>12,.0f} users/s")
    medians = {row["system"]: row["seconds"] for row in rows}
    ratios = {name: medians[OURS] / median for name, median in medians.items() if name != OURS}
    say("kgspark takes " + "; ".join(f"{ratio:.2f} of {name}" for name, ratio in ratios.items()))
    return {"ratios": ratios, "rows": rows}


def _compare_night(settings: TopKBenchSettings, say: Say) -> list[Row]:
    rows = compare_night(settings.night) if settings.night is not None else []
    for row in rows:
        say(
            f"{row['table']} of {settings.night}: of {row['lists']:,} lists {row['wrong']:,} differ from all scores "
            f"sorted, and {row['seen']:,} rows were seen"
        )
    return rows


def _our_indexes(items: np.ndarray, settings: TopKBenchSettings) -> dict[str, FlatIndex]:
    """kgspark's exact index on the CPU, and on a CUDA device if one is used."""
    index = build_index(items, "inner_product", threads=usable_cores())
    engine = RankingDevice(settings.device, task_gpu)()
    return {OURS: index} | ({ON_CUDA: replace(index, engine=engine)} if engine is not None else {})


def _unit_vectors(generator: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = generator.standard_normal((count, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _rank(index: FlatIndex, queries: np.ndarray, seen: Histories, settings: TopKBenchSettings) -> None:
    for start in range(0, len(queries), settings.block):
        part = np.arange(start, min(start + settings.block, len(queries)))
        top_k(index, queries[part], seen.pick(part), settings.k)


def _is_exact(index: FlatIndex, queries: np.ndarray, seen: Histories, settings: TopKBenchSettings) -> bool:
    """True if the lists of some users, including the longest histories, equal those of all scores sorted."""
    chosen = np.argsort(-seen.sizes, kind="stable")[:: max(1, settings.users // max(settings.checked, 1))]
    chosen = chosen[: settings.checked]
    found = top_k(index, queries[chosen], seen.pick(chosen), settings.k)
    for part in np.array_split(np.arange(len(chosen)), max(1, len(chosen) // 50)):
        scores = score_all(index, queries[chosen[part]])
        wanted = top_k_of_scores(scores, seen.pick(chosen[part]), settings.k)
        if not np.array_equal(wanted.ids, found.ids[part]):
            return False
    return True


def implicit_top_k(items: np.ndarray, queries: np.ndarray, seen: Histories, k: int, threads: int) -> np.ndarray:
    """Rows of the k largest inner products with items float32 (N, d) that each query float32 (B, d) has not seen.

    Returns int (B, k), best first. `recommend` of implicit's factor models calls this function for a batch of users; it
    leaves out the seen rows itself.
    """
    ids, _ = topk(items, queries, k, filter_query_items=like_matrix(seen, len(items)), num_threads=threads)
    return ids


def _mllib_seconds(queries: np.ndarray, items: np.ndarray, k: int) -> float:
    """Seconds that MLlib's model takes to rank with the same factors, which the running session has cached."""
    master = f"local[{usable_cores()}]"
    with plain_session(master) as session:
        model = mllib_als.from_factors(session, queries, items, local_cores(master))
        began = time.perf_counter()
        model.recommendForAllUsers(k).write.format("noop").mode("overwrite").save()
        return time.perf_counter() - began
