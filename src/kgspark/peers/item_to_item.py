"""Baselines that score a movie by its weights from the movies in a user's history: ItemKNN and EASE."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.peers.baselines import Likes

# Rows of similarities in memory at once.
_BLOCK = 1024
_LARGEST_CATALOGUE = 40_000


@dataclass(frozen=True)
class ItemToItem:
    """Score of movie m for user u: Σ over the history of u of weights[liked, m].

    history  sparse float32 (U, M) of zeros and ones
    weights  float32 (M, M), dense or sparse
    """

    history: csr_matrix
    weights: np.ndarray | csr_matrix

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M)."""
        scores = self.history[users] @ self.weights
        return np.asarray(scores if isinstance(scores, np.ndarray) else scores.todense(), dtype=np.float32)

    def of(self, likes: Histories) -> "ItemToItem":
        """The same weights, for users with other likes."""
        return replace(self, history=like_matrix(likes, self.history.shape[1]))


def like_matrix(by_user: Histories, movies: int) -> csr_matrix:
    """The likes as a sparse float32 (U, M) of ones."""
    ones = np.ones(len(by_user.indices), np.float32)
    return csr_matrix((ones, by_user.indices, by_user.indptr), shape=(len(by_user), movies))


def fit_ease(likes: Likes) -> ItemToItem:
    """EASE (Steck 2019, equation 8): B = I − P diag(P)⁻¹ with P = (XᵀX + λI)⁻¹, so its diagonal is zero.

    Raises StageError for a catalogue whose square does not fit into memory.
    """
    catalogue, l2 = likes.movies, likes.settings.ease.l2
    if catalogue > _LARGEST_CATALOGUE:
        raise StageError(f"evaluate.baselines: ease inverts a matrix of {catalogue:,}² movies; take it out of the list")
    history = like_matrix(likes.by_user, catalogue)
    gram = np.asarray((history.T @ history).todense(), dtype=np.float64)
    gram[np.diag_indices(catalogue)] += l2
    # Inverting a symmetric matrix by its Cholesky factor takes half the time of a general solver, and fills one
    # triangle.
    factor, failed = lapack.dpotrf(gram, lower=0, overwrite_a=1)
    inverse, failed_too = lapack.dpotri(factor, lower=0, overwrite_c=1)
    if failed or failed_too:
        raise StageError(f"evaluate.peers.ease.l2: λ = {l2} leaves a singular matrix; raise it")
    inverse = np.triu(inverse) + np.triu(inverse, 1).T
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    weights[np.diag_indices(catalogue)] = 0
    return ItemToItem(history, weights)


def fit_item_knn(likes: Likes) -> ItemToItem:
    """Cosine similarities s(i, j) = |Uᵢ ∩ Uⱼ| / (√(|Uᵢ| |Uⱼ|) + shrink); each movie keeps its largest `neighbours`
    (Sarwar et al. 2001; shrinkage as in Bell and Koren 2007)."""
    catalogue, settings = likes.movies, likes.settings.item_knn
    history = like_matrix(likes.by_user, catalogue)
    by_movie = history.T.tocsr()
    norms = np.sqrt(likes.by_user.counts(catalogue))
    kept = min(settings.neighbours, catalogue)
    rows, columns, values = [], [], []
    for start in range(0, catalogue, _BLOCK):
        shared = np.asarray((by_movie[start : start + _BLOCK] @ history).todense())
        own = np.arange(len(shared))
        shared[own, start + own] = 0
        similarity = shared / np.maximum(norms[start : start + _BLOCK, None] * norms + settings.shrink, 1e-9)
        best = np.argpartition(similarity, -kept, axis=1)[:, -kept:]
        rows.append(np.repeat(start + own, kept))
        columns.append(best.ravel())
        values.append(np.take_along_axis(similarity, best, axis=1).ravel().astype(np.float32))
    entries = np.concatenate(values), (np.concatenate(columns), np.concatenate(rows))
    # A movie's score is a sum over its neighbours in the history, so they are in its column.
    weights = csr_matrix(entries, shape=(catalogue, catalogue))
    weights.eliminate_zeros()
    return ItemToItem(history, weights)
