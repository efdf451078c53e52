"""An upper bound on the score of any row that FAISS did not return; it proves that a list is exact.

The values of FAISS, or of the engine that replaces it, are rounded, and so are the scores of `scores`. A dot product of
d float32 terms, summed in any order, is off by at most d·u / (1 - d·u) times the sum of the terms' magnitudes, u = 2⁻²⁴
(Higham, Accuracy and Stability of Numerical Algorithms, eq. 3.5). Every bound below adds the errors of both values, and
the errors of a few operations around the sum.
"""

import numpy as np

from kgspark.errors import StageError
from kgspark.retrieval.index import FlatIndex, row_norms

_UNIT = 2.0**-24
# Relative slack for the roundings of a square root and of the bound's own arithmetic.
_SLACK = 4 * _UNIT
# Squared norms up to here leave room below float32's largest number, about 3.4e38.
_LARGEST = 1e37


def check_range(index: FlatIndex, queries: np.ndarray) -> None:
    """Raises StageError if a score of the queries float32 (B, d) could overflow float32."""
    if (float(row_norms(queries).max(initial=0.0)) + index.radius) ** 2 > _LARGEST:
        raise StageError("the vectors' norms are so large that their scores overflow float32; the model has diverged")


def ceilings(index: FlatIndex, queries: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Upper bounds float32 (B,) on the scores of all rows whose FAISS value is no better than `cut` float32 (B,)."""
    reach = row_norms(queries)
    cut = cut.astype(np.float64)
    error = _relative_error(queries.shape[1])
    if index.metric == "inner_product":
        best = cut + 2 * error * reach * index.radius
        return (best + _SLACK * np.abs(best)).astype(np.float32)
    if index.metric == "l1":
        nearest = cut * (1 - 2 * error)
    else:
        # ‖q‖² + ‖t‖² - 2 q·t cancels, so its error is relative to the norms and not to the distance.
        squared = np.maximum(cut - 2 * error * (reach + index.radius) ** 2, 0)
        nearest = np.sqrt(squared) if index.metric == "l2" else _nearest_modulus(index, queries, squared) * (1 - error)
    return (float(np.float32(index.offset)) - nearest * (1 - _SLACK)).astype(np.float32)


def _relative_error(terms: int) -> float:
    """Higham's bound for a sum of `terms` products and eight further operations."""
    return (terms + 8) * _UNIT / (1 - (terms + 8) * _UNIT)


def _nearest_modulus(index: FlatIndex, queries: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """Lower bounds float64 (B,) on the sum of moduli Σ|zᵢ|, given squared Euclidean distances Σ|zᵢ|² ≥ `squared`.

    Σ|z| ≥ √(Σ|z|²), and Σ|z| ≥ Σ|z|² / D if no |zᵢ| exceeds D. For unit moduli D = 2, and the second is n - q·t.
    """
    half = queries.shape[1] // 2
    largest = np.hypot(queries[:, :half], queries[:, half:]).max(axis=1, initial=0.0) + index.largest_modulus
    largest = np.maximum(largest.astype(np.float64) * (1 + _SLACK), np.finfo(np.float32).tiny)
    return np.maximum(np.sqrt(squared), squared / largest)
