"""MovieLens-1M itself: every user's and every movie's list equals all scores sorted without the rated rows."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from kgspark.graph.histories import Histories
from kgspark.retrieval.index import build_index
from kgspark.retrieval.scores import score_all
from kgspark.retrieval.topk import top_k
from kgspark.search_space import Metric
from worlds.rankings import brute_force

K = 100


@pytest.fixture(scope="module")
def rated(ml_1m: Path) -> csr_matrix:
    """Ratings by user and movie, float32 (6040, 3706)."""
    columns = {0: "user", 2: "movie", 4: "rating"}
    table = pd.read_csv(ml_1m / "ratings.dat", sep=":", header=None, usecols=list(columns)).rename(columns=columns)
    users, movies = (np.unique(table[name], return_inverse=True)[1] for name in ("user", "movie"))
    return csr_matrix((table["rating"].to_numpy(np.float32), (users, movies)))


@pytest.fixture(scope="module")
def vectors(rated: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Users and movies by the leading singular vectors, float32 (rows, 48), so that rated rows rank high."""
    users, values, movies = svds(rated, k=48, rng=np.random.default_rng(0))
    return (users * np.sqrt(values)).astype(np.float32), (movies.T * np.sqrt(values)).astype(np.float32)


@pytest.mark.parametrize("direction", ["recommendations", pytest.param("audiences", marks=pytest.mark.extended)])
@pytest.mark.parametrize("metric", ["inner_product", pytest.param("l2", marks=pytest.mark.extended)])
def test_every_list_is_all_scores_sorted(
    rated: csr_matrix, vectors: tuple[np.ndarray, np.ndarray], metric: Metric, direction: str
) -> None:
    known, (asking, ranked) = rated, vectors
    if direction == "audiences":
        known, (ranked, asking) = rated.T.tocsr(), vectors
    index = build_index(ranked, metric, threads=2)
    found = top_k(index, asking, Histories(known.indptr.astype(np.int64), known.indices.astype(np.int64)), K)
    seen = [set(known.indices[start:end].tolist()) for start, end in pairwise(known.indptr)]
    lists = [ids[:count].tolist() for ids, count in zip(found.ids, found.counts, strict=True)]
    assert lists == brute_force(score_all(index, asking), seen, K)
