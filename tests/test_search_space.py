"""Every implementation of the four scores agrees with the definition; ids that do not fit the vectors are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from kgspark.errors import InputError
from kgspark.kge.model.scoring import pair_scores, ranking_scores, score_matrix, training_scores
from kgspark.retrieval.cuda_search import MatrixSearch
from kgspark.retrieval.index import FlatIndex, build_index
from kgspark.retrieval.scores import score_all, score_pairs
from kgspark.search_space import Metric, SearchSpace, pairwise_scores, read_ids, write_ids
from worlds.rankings import METRICS, unit_moduli

USERS, MOVIES, WIDTH, OFFSET = 7, 30, 12, 3.0


def space_of(metric: Metric) -> SearchSpace:
    """Vectors like those of trained models: unit items for l2, unit moduli for modulus."""
    rng = np.random.default_rng(2)
    queries, items = (rng.standard_normal((rows, WIDTH)).astype(np.float32) for rows in (USERS, MOVIES))
    if metric == "l2":
        items /= np.linalg.norm(items, axis=1, keepdims=True)
    elif metric == "modulus":
        queries, items = unit_moduli(queries), unit_moduli(items)
    sources = [np.zeros(rows, np.uint8) for rows in (USERS, MOVIES)]
    return SearchSpace(queries, items, *sources, metric, 0.0 if metric == "inner_product" else OFFSET)


def exact(space: SearchSpace) -> np.ndarray:
    """float64 (U, M), from the definition."""
    pairs = np.repeat(np.arange(USERS), MOVIES), np.tile(np.arange(MOVIES), USERS)
    return pairwise_scores(space, *pairs).reshape(USERS, MOVIES)


def by_torch(scores: Callable[..., torch.Tensor], space: SearchSpace) -> np.ndarray:
    return scores(torch.from_numpy(space.queries), torch.from_numpy(space.items), space.metric).numpy()


def all_pairs(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> torch.Tensor:
    return pair_scores(queries[:, None], items[None], metric)


def index_of(space: SearchSpace) -> FlatIndex:
    return build_index(space.items, space.metric, space.offset)


@pytest.mark.parametrize("metric", METRICS)
def test_values_are_those_of_the_definition(metric: Metric) -> None:
    space = space_of(metric)
    index, every = index_of(space), np.tile(np.arange(MOVIES), (USERS, 1))
    found = {
        "score_matrix": by_torch(score_matrix, space) + space.offset,
        "pair_scores": by_torch(all_pairs, space) + space.offset,
        "score_all": score_all(index, space.queries),
        "score_pairs": score_pairs(index, space.queries, every),
    }
    for name, scores in found.items():
        np.testing.assert_allclose(scores, exact(space), rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("metric", METRICS)
def test_cheaper_scores_and_searches_have_the_order_of_the_definition(metric: Metric) -> None:
    space = space_of(metric)
    order = np.argsort(-exact(space), axis=1)
    assert np.argsort(-by_torch(ranking_scores, space), axis=1).tolist() == order.tolist()
    if metric == "modulus":  # its training scores are a series, and Euclidean distance finds its candidates
        return
    assert np.argsort(-by_torch(training_scores, space), axis=1).tolist() == order.tolist()
    assert MatrixSearch("cpu")(space.queries, space.items, MOVIES, metric)[1].tolist() == order.tolist()
    assert index_of(space).search(space.queries, MOVIES)[1].tolist() == order.tolist()


def test_a_saved_space_is_read_back_and_a_missing_file_is_named(tmp_path: Path) -> None:
    space = space_of("l1")
    space.save(tmp_path)
    loaded = SearchSpace.load(tmp_path)
    for side in ("queries", "items"):
        assert loaded.vectors(side).tobytes() == space.vectors(side).tobytes()
        assert loaded.sources(side).tolist() == space.sources(side).tolist()
    assert (loaded.metric, loaded.offset) == ("l1", OFFSET)
    (tmp_path / "items.npy").unlink()
    with pytest.raises(InputError, match=r"items\.npy: missing; run train-embeddings first"):
        SearchSpace.load(tmp_path)


def test_spaces_that_do_not_fit_together_are_refused() -> None:
    queries, items = np.zeros((3, 4), np.float32), np.zeros((5, 4), np.float32)
    with pytest.raises(ValueError, match="unknown metric 'cosine'"):
        SearchSpace.learned(queries, items, "cosine")
    with pytest.raises(ValueError, match=r"\(3, 4\) and items \(5, 2\) must both be"):
        SearchSpace.learned(queries, items[:, :2], "l2")
    with pytest.raises(ValueError, match=r"items: sources \(2,\) must be one per vector \(5\)"):
        SearchSpace(queries, items, np.zeros(3, np.uint8), np.zeros(2, np.uint8), "l2")


@pytest.mark.parametrize("ids", [["a", "b"], [7, 2**40]])
def test_ids_keep_their_type_and_missing_or_foreign_ones_are_named(tmp_path: Path, ids: list) -> None:
    with pytest.raises(InputError, match=r"item_ids\.arrow: missing"):
        read_ids(tmp_path, "items", 2)
    written = pa.array(ids)
    assert write_ids(tmp_path, "items", written) == tmp_path / "item_ids.arrow"
    assert read_ids(tmp_path, "items", 2).equals(written)
    with pytest.raises(InputError, match="2 ids for 3 vectors"):
        read_ids(tmp_path, "items", 3)
