"""The search on a torch device finds the same rows as FAISS, in full float32, in blocks of any size."""

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
import torch

from kgspark.errors import StageError
from kgspark.retrieval import cuda_search
from kgspark.retrieval.cuda_search import MatrixSearch

FAISS_METRICS = {"inner_product": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2, "l1": faiss.METRIC_L1}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def vectors(seed: int, rows: int, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)


def exact(queries: np.ndarray, items: np.ndarray, metric: str) -> np.ndarray:
    queries, items = queries.astype(np.float64), items.astype(np.float64)
    if metric == "inner_product":
        return queries @ items.T
    apart = queries[:, None] - items[None]
    return (apart**2).sum(axis=2) if metric == "l2" else np.abs(apart).sum(axis=2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", FAISS_METRICS)
@pytest.mark.parametrize(("tile", "cells"), [(65_536, 1 << 26), (100, 1500), (7, 1)])
def test_finds_what_faiss_finds_in_blocks_of_any_size(monkeypatch, metric, device, tile, cells):
    monkeypatch.setattr(cuda_search, "_TILE_ROWS", tile)
    queries, items = vectors(1, 33), vectors(2, 950)
    values, ids = pickle.loads(pickle.dumps(MatrixSearch(device, cells)))(queries, items, 20, metric)
    expected, rows = faiss.knn(queries, items, 20, metric=FAISS_METRICS[metric])
    truth = exact(queries, items, metric)
    found, wanted = (np.take_along_axis(truth, places, axis=1) for places in (ids, rows))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    assert [len(set(row)) for row in ids.tolist()] == [20] * 33
    assert (values.dtype, ids.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", ["inner_product", "l2"])
def test_values_are_full_float32_within_the_stated_error(metric, device):
    """Also if the process has switched on TF32 before: its ten bits would exceed the error bound a thousand times."""
    torch.set_float32_matmul_precision("medium")
    queries, items = 100 + vectors(3, 200, 128), vectors(4, 3000, 128)
    values, ids = MatrixSearch(device)(queries, items, 3000, metric)
    truth = np.take_along_axis(exact(queries, items, metric), ids, axis=1)
    error = (128 + 8) * 2.0**-24
    if metric == "inner_product":
        terms = np.abs(queries).astype(np.float64) @ np.abs(items).astype(np.float64).T
    else:
        terms = (np.linalg.norm(queries, axis=1)[:, None] + np.linalg.norm(items, axis=1)[None, :]) ** 2
    assert (np.abs(values - truth) <= 1.001 * error * np.take_along_axis(terms, ids, axis=1)).all()


@pytest.mark.parametrize("metric", FAISS_METRICS)
def test_asked_for_more_than_there_is_it_gives_everything_best_first(metric):
    queries, items = vectors(5, 4), vectors(6, 9)
    values, ids = MatrixSearch("cpu")(queries, items, 50, metric)
    assert np.sort(ids, axis=1).tolist() == [list(range(9))] * 4
    rising = np.diff(values, axis=1) >= 0
    assert (~rising if metric == "inner_product" else rising).all()
    nobody, nothing = MatrixSearch("cpu")(queries[:0], items, 5, metric)
    assert nobody.shape == nothing.shape == (0, 5)


@pytest.mark.parametrize("device", DEVICES)
def test_vectors_are_moved_once_and_leave_with_their_array(monkeypatch, device):
    moved = []
    monkeypatch.setattr(
        cuda_search,
        "_copy_to",
        lambda array, to, real=cuda_search._copy_to: moved.append(len(array)) or real(array, to),
    )
    items, search = vectors(7, 300), MatrixSearch(device)
    gc.collect()
    before = len(cuda_search._resident)
    first = search(vectors(8, 5), items, 3, "l2")
    second = search(vectors(8, 5), items, 3, "l2")
    assert moved == [5, 300, 5]
    assert first[1].tolist() == second[1].tolist()
    assert len(cuda_search._resident) == before + 1
    del items
    gc.collect()
    assert len(cuda_search._resident) == before


def test_blocks_are_halved_where_the_device_is_nearly_full(monkeypatch):
    asked = []

    def best(self, queries, vectors, depth, measure, real=MatrixSearch._best):
        asked.append(len(queries))
        if len(queries) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, queries, vectors, depth, measure)

    monkeypatch.setattr(MatrixSearch, "_best", best)
    queries, items = vectors(10, 10), vectors(11, 50)
    _, ids = MatrixSearch("cpu")(queries, items, 5, "l2")
    assert asked == [10, 5, 3, 3, 3, 1]
    np.testing.assert_array_equal(ids, faiss.knn(queries, items, 5)[1])

    monkeypatch.setattr(MatrixSearch, "_best", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(StageError, match=r"no memory left for one query; .* recommend\.device=cpu"):
        MatrixSearch("cpu")(queries, items, 5, "l2")


@pytest.mark.gpu
def test_a_nearly_full_gpu_gives_the_same_rows():
    queries, items = vectors(12, 2000, 64), vectors(13, 100_000, 64)
    wanted = MatrixSearch("cuda")(queries, items, 50, "inner_product")
    torch.cuda.empty_cache()
    room = torch.cuda.memory_allocated() + (96 << 20)
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.mem_get_info()[1])
    try:
        found = MatrixSearch("cuda")(queries, items, 50, "inner_product")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-4)
    assert (found[1] == wanted[1]).mean() > 0.999


@pytest.mark.gpu
def test_several_threads_search_at_once():
    queries, items = vectors(14, 4000, 64), vectors(15, 70_000, 64)
    search = MatrixSearch("cuda")
    wanted = search(queries, items, 20, "l2")[1]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda part: search(part, items, 20, "l2")[1], np.array_split(queries, 16)))
    assert (np.concatenate(found) == wanted).mean() > 0.999


def test_memory_mapped_vectors_are_searched_without_a_warning(tmp_path, recwarn):
    np.save(tmp_path / "items.npy", vectors(9, 40))
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    assert MatrixSearch("cpu")(vectors(9, 40), mapped, 1, "l2")[1][:, 0].tolist() == list(range(40))
    assert not recwarn.list


def test_another_metric_is_refused():
    with pytest.raises(ValueError, match="unknown metric 'cosine'"):
        MatrixSearch("cpu")(vectors(1, 2), vectors(2, 3), 1, "cosine")
