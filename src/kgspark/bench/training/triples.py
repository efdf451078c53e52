"""The train triples that contestants learn: samples, and triples as rows."""

from dataclasses import replace

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.graph.triples import TripleSet
from kgspark.tables import TRAIN


def sample_triples(graph: Graph, count: int, seed: int) -> Graph:
    """`count` train triples drawn without repetition, or all if there are fewer."""
    parts = {key: pairs for key, pairs in graph.triples.parts.items() if key[0] == TRAIN}
    sizes = [len(pairs) for pairs in parts.values()]
    total = sum(sizes)
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    starts = np.cumsum([0, *sizes])
    cuts = np.searchsorted(chosen, starts)
    kept = {}
    for (key, pairs), start, low, high in zip(parts.items(), starts[:-1], cuts[:-1], cuts[1:], strict=True):
        if low < high:
            at = chosen[low:high] - start
            kept[key] = pairs.at(at)
    return replace(graph, triples=TripleSet(kept))


def train_rows(graph: Graph) -> torch.Tensor:
    """The train triples as (head, relation, tail), int64 (n, 3)."""
    parts = [
        np.stack([pairs.heads, np.full(len(pairs), relation), pairs.tails], axis=1)
        for (split, relation), pairs in graph.triples.parts.items()
        if split == TRAIN
    ]
    return torch.from_numpy(np.concatenate(parts))
