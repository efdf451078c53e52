"""Random worlds whose right answer is computed by brute force."""

from dataclasses import dataclass

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.search_space import Metric, SearchSpace, pairwise_scores

METRICS: tuple[Metric, ...] = ("inner_product", "l2", "l1", "modulus")


@dataclass(frozen=True)
class World:
    space: SearchSpace
    seen: Histories
    k: int

    def seen_sets(self) -> list[set[int]]:
        return [set(part.tolist()) for part in np.split(self.seen.indices, self.seen.indptr[1:-1])]

    def exact_scores(self) -> np.ndarray:
        """float64 (U, M), from the definition."""
        users, movies = len(self.space.queries), len(self.space.items)
        pairs = np.repeat(np.arange(users), movies), np.tile(np.arange(movies), users)
        return pairwise_scores(self.space, *pairs).reshape(users, movies)


def random_world(metric: Metric, seed: int, users: int = 40, largest: int = 1500, k: int = 0) -> World:
    """Heavy-tailed histories over vectors that are smooth, on a grid (exact ties), duplicated, or of unit modulus."""
    rng = np.random.default_rng(seed)
    movies, half = int(rng.integers(1, largest)), int(rng.integers(1, 10))
    queries = rng.standard_normal((users, 2 * half)).astype(np.float32)
    items = rng.standard_normal((movies, 2 * half)).astype(np.float32)
    if seed % 4 == 1:
        queries, items = np.round(queries), np.round(items)
    elif seed % 4 == 2:
        items = items[rng.integers(0, max(1, movies // 20), movies)]
    elif seed % 4 == 3:
        queries, items = unit_moduli(queries), unit_moduli(items)
    sizes = np.minimum(rng.zipf(1.3, users) - 1, movies)
    sizes[rng.random(users) < 0.05] = movies
    chosen = [rng.permutation(movies)[:size] for size in sizes]
    seen = Histories.of(chosen)
    sources = [rng.integers(0, 3, len(vectors)).astype(np.uint8) for vectors in (queries, items)]
    space = SearchSpace(queries, items, *sources, metric, 0.0 if metric == "inner_product" else 12.0, "m")
    return World(space, seen, k or int(rng.integers(1, 150)))


def unit_moduli(vectors: np.ndarray) -> np.ndarray:
    half = vectors.shape[1] // 2
    moduli = np.hypot(vectors[:, :half], vectors[:, half:])
    return (vectors / np.concatenate((moduli, moduli), axis=1)).astype(np.float32)


def brute_force(scores: np.ndarray, seen: list[set[int]], k: int) -> list[list[int]]:
    """Every query's best k unseen rows by falling score, then by rising id."""
    answer = []
    for row, history in zip(scores, seen, strict=True):
        unseen = np.setdiff1d(np.arange(len(row)), np.fromiter(history, np.int64, len(history)))
        answer.append(unseen[np.argsort(-row[unseen], kind="stable")][:k].tolist())
    return answer
