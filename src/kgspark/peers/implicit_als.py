"""implicit's ALS as a search space, to be ranked and measured exactly as our own vectors are."""

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from kgspark.search_space import SearchSpace


def fit(
    indptr: np.ndarray, movies: np.ndarray, catalogue: int, *, factors: int, iterations: int, alpha: float, seed: int
) -> SearchSpace:
    """Fits confidence-weighted ALS (Hu, Koren and Volinsky 2008) on likes given as CSR over users.

    indptr   int64 (U + 1,); movies  int64 (n,): positions in [0, catalogue)
    """
    likes = csr_matrix((np.ones(len(movies), np.float32), movies, indptr), shape=(len(indptr) - 1, catalogue))
    model = AlternatingLeastSquares(factors=factors, iterations=iterations, alpha=alpha, random_state=seed)
    model.fit(likes, show_progress=False)
    known = np.diff(indptr) > 0
    return SearchSpace(np.asarray(model.user_factors), np.asarray(model.item_factors), known, "inner_product")
