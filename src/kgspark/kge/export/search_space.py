"""From trained weights to the search space that retrieval ranks with."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.kge.export.facts import Facts, facts_of, unrated
from kgspark.kge.export.recency import lean, recent_vectors
from kgspark.kge.model.two_tower import items_of, metric_of, queries_of, tower_of
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, FACTS, LEARNED, SOURCES

# Number of rows translated at once: bounds the temporary copies of large tables.
_BLOCK_ROWS = 1 << 16


def export_search_space(model: torch.nn.Module, graph: Graph, settings: TrainSettings) -> SearchSpace:
    """Queries and items of the target relation, which rank exactly as the model's `score_triples`.

    With `settings.export.recent_share`, queries then lean towards the latest likes of `settings.learned_splits`. A user
    without a like in the learned splits gets a query from other facts, or the mean query of the users with likes.
    """
    target = graph.relation(settings.target)
    queries, items = ranking_vectors(model, graph, settings, settings.learned_splits)
    liking = graph.histories(target, settings.learned_splits).sizes > 0
    user_facts, movie_facts = (facts_of(kind, model, graph, settings) for kind in (target.head_kind, target.tail_kind))
    query_sources = _sources(liking, user_facts)
    if liking.any() and not liking.all():
        queries[torch.from_numpy(~liking).to(queries.device)] = _unliked_queries(queries, liking, user_facts)
    without_ratings = unrated(graph, target, settings.learned_splits)
    # A movie without ratings and without facts still has a trained vector, because it was sampled as a negative.
    item_sources = np.full(len(without_ratings), SOURCES.index(LEARNED), np.uint8)
    if movie_facts is not None:
        item_sources[without_ratings & movie_facts.known()] = SOURCES.index(FACTS)
    users, movies = (vectors.cpu().numpy().astype(np.float32, copy=False) for vectors in (queries, items))
    model_id = f"{settings.model}-{_digest(users, movies, query_sources, item_sources)[:12]}"
    offset = tower_of(settings).offset(model)
    return SearchSpace(users, movies, query_sources, item_sources, metric_of(settings), offset, model_id)


def ranking_vectors(
    model: torch.nn.Module, graph: Graph, settings: TrainSettings, splits: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`target_vectors`, with queries that lean by `settings.export.recent_share` towards the latest likes of `splits`.

    `auto` counts as 0 here, and so does any share if likes have no times.
    """
    queries, items = target_vectors(model, graph, settings)
    if settings.export.recent_share in ("auto", 0):
        return queries, items
    likes = graph.histories(graph.relation(settings.target), splits)
    if likes.times is None:
        return queries, items
    recent = recent_vectors(items, likes, settings.export.recent_half_life)
    return lean(queries, recent, float(settings.export.recent_share)), items


def target_vectors(model: torch.nn.Module, graph: Graph, settings: TrainSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Translated queries (heads, width) and effective items (tails, width), on the model's device."""
    target = graph.relation(settings.target)

    def blocks(kind: str) -> list[slice]:
        start, stop = graph.layout.range(kind)
        cuts = range(start, stop, _BLOCK_ROWS)
        return [slice(cut, min(cut + _BLOCK_ROWS, stop)) for cut in cuts] or [slice(start, stop)]

    with torch.no_grad():
        queries = [queries_of(settings, model, rows, target.index) for rows in blocks(target.head_kind)]
        items = [items_of(settings, model, rows) for rows in blocks(target.tail_kind)]
        return torch.cat(queries), torch.cat(items)


def _sources(liking: np.ndarray, facts: Facts | None) -> np.ndarray:
    known = np.zeros_like(liking) if facts is None else facts.known()
    learned, from_facts, average = (SOURCES.index(name) for name in (LEARNED, FACTS, AVERAGE))
    return np.select([liking, known], [learned, from_facts], average).astype(np.uint8)


def _unliked_queries(queries: torch.Tensor, liking: np.ndarray, facts: Facts | None) -> torch.Tensor:
    """Queries (n, width) of the users without likes: from their facts, or the mean query of those with likes."""
    learned, others = np.flatnonzero(liking), np.flatnonzero(~liking)
    vectors = queries[torch.from_numpy(learned).to(queries.device)]
    mean = vectors.double().mean(0).float()
    if facts is None:
        return mean.expand(len(others), -1)
    known = torch.from_numpy(facts.known()[others]).to(queries.device)
    return torch.where(known[:, None], facts.predict(learned, vectors, others), mean)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
