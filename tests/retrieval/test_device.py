"""The search on a torch device gives the same lists as FAISS, bit for bit: both only fetch candidates."""

import pickle
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.retrieval import cuda_search, device
from kgspark.retrieval.cuda_search import MatrixSearch
from kgspark.retrieval.device import RankingDevice
from kgspark.retrieval.index import FlatIndex, build_index
from kgspark.retrieval.topk import top_k
from kgspark.spark.ranking.task_gpu import task_gpu
from worlds.rankings import METRICS, random_world
from worlds.streams import ranked, save, stream, task

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def same_lists(index: FlatIndex, queries: np.ndarray, seen: Histories, k: int, device: str) -> None:
    by_torch = FlatIndex(index.vectors, index.metric, index.offset, index.threads, MatrixSearch(device, cells=40_000))
    ours, theirs = (top_k(which, queries, seen, k) for which in (by_torch, index))
    assert ours.ids.tobytes() == theirs.ids.tobytes()
    assert ours.scores.tobytes() == theirs.scores.tobytes()


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(METRICS), st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 2500))
def test_lists_are_those_of_faiss_to_the_bit(device, metric, seed, k, largest):
    world = random_world(metric, seed, users=12, largest=largest, k=k)
    index = build_index(world.space.items, metric, world.space.offset)
    same_lists(index, world.space.queries, world.seen, k, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", METRICS)
def test_so_they_are_over_several_tiles_and_threads(monkeypatch, metric, device):
    monkeypatch.setattr(cuda_search, "_TILE_ROWS", 700)
    rng = np.random.default_rng(1)
    queries, items = (rng.standard_normal((rows, 32), dtype=np.float32) for rows in (700, 4000))
    sizes = np.minimum(rng.zipf(1.4, 700), 600)
    seen = Histories.from_sizes(sizes, rng.integers(0, 4000, sizes.sum()))
    same_lists(build_index(items, metric, 2.0, threads=2), queries, seen, 20, device)


@pytest.mark.parametrize("metric", METRICS)
def test_a_task_writes_the_same_rows_with_either(tmp_path, metric):
    world = random_world(metric, 20, k=15)
    ids = save(world, tmp_path)
    asked: list[int] = []

    def engine() -> MatrixSearch:
        asked.append(1)
        return MatrixSearch("cpu")

    tasks = [task(tmp_path, 15, block=16, engine=choose) for choose in (None, engine)]
    by_faiss, by_torch = (ranked(stream(world.seen, ids["queries"]), task) for task in tasks)
    assert isinstance(by_torch, pa.Table)
    assert by_torch.equals(by_faiss)
    assert asked == [1]


def test_the_choice_travels_with_a_task_and_is_made_there(tmp_path):
    sent = pickle.loads(pickle.dumps(task(tmp_path, 5, engine=RankingDevice("auto", task_gpu))))
    assert sent.engine == RankingDevice("auto", task_gpu)
    assert RankingDevice("cpu", task_gpu)() is None
    if torch.cuda.is_available():
        assert sent.engine() == RankingDevice("cuda", task_gpu)() == MatrixSearch("cuda:0")
    else:
        assert sent.engine() is None
        with pytest.raises(StageError, match=r"recommend\.device: cuda was set, but a machine that ranks has no CUDA"):
            RankingDevice("cuda", task_gpu)()


@pytest.mark.gpu
def test_auto_searches_on_the_gpu(tmp_path):
    world = random_world("inner_product", 20, k=15)
    ids = save(world, tmp_path)
    on_gpu, on_cpu = (
        ranked(stream(world.seen, ids["queries"]), task(tmp_path, 15, engine=RankingDevice(name, task_gpu)))
        for name in ("auto", "cpu")
    )
    assert on_gpu.equals(on_cpu)


def test_a_machine_without_a_driver_never_loads_torch(monkeypatch):
    """An executor has no torch; if it has, loading it for nothing would take every worker some seconds."""
    monkeypatch.setattr(device, "_has_driver", lambda: False)
    monkeypatch.delitem(sys.modules, "kgspark.retrieval.cuda_search")
    device._may_have_cuda.cache_clear()
    assert RankingDevice("auto", task_gpu)() is None
    assert "kgspark.retrieval.cuda_search" not in sys.modules
    device._may_have_cuda.cache_clear()
