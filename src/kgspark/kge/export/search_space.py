"""From trained weights to the search space that retrieval ranks with."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.kge.export.facts import Facts, facts_of, unrated
from kgspark.kge.export.recency import leaning, recent_vectors
from kgspark.kge.model import models
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, FACTS, LEARNED, SOURCES

# Rows translated at once: bounds the temporary copies of large tables.
_BLOCK_ROWS = 1 << 16


def export_search_space(model: torch.nn.Module, graph: Graph, settings: TrainSettings) -> SearchSpace:
    """Queries and items of the target relation, which rank exactly as the model's `score_triples`.

    With `settings.export.recent_share`, queries then lean towards the latest likes of `settings.learned_splits`. A user
    without a like that training read has a query from other facts, or the mean query of those who have likes.
    """
    target = graph.relation(settings.target)
    queries, items = leaning_vectors(model, graph, settings, settings.learned_splits)
    liking = graph.histories(target, settings.learned_splits).sizes > 0
    user_facts, movie_facts = (facts_of(kind, model, graph, settings) for kind in (target.head_kind, target.tail_kind))
    query_sources = _sources(liking, user_facts)
    if liking.any() and not liking.all():
        queries[torch.from_numpy(~liking).to(queries.device)] = _unliked_queries(queries, liking, user_facts)
    unheard = unrated(graph, target, settings.learned_splits)
    # A movie without ratings and without facts is still the model's: it has been a negative.
    item_sources = np.full(len(unheard), SOURCES.index(LEARNED), np.uint8)
    if movie_facts is not None:
        item_sources[unheard & movie_facts.known()] = SOURCES.index(FACTS)
    users, movies = (vectors.cpu().numpy().astype(np.float32, copy=False) for vectors in (queries, items))
    digest = hashlib.sha256()
    for array in (users, movies, query_sources, item_sources):
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    model_id = f"{settings.model}-{digest.hexdigest()[:12]}"
    metric, offset = models.metric_of(settings), models.offset_of(model)
    return SearchSpace(users, movies, query_sources, item_sources, metric, offset, model_id)


def _sources(liking: np.ndarray, facts: Facts | None) -> np.ndarray:
    known = np.zeros_like(liking) if facts is None else facts.known()
    places = [SOURCES.index(name) for name in (LEARNED, FACTS, AVERAGE)]
    return np.select([liking, known], places[:2], places[2]).astype(np.uint8)


def _unliked_queries(queries: torch.Tensor, liking: np.ndarray, facts: Facts | None) -> torch.Tensor:
    """Queries (n, width) of the users without likes: from their facts, or the mean query of those with likes."""
    taught, asked = np.flatnonzero(liking), np.flatnonzero(~liking)
    liked = queries[torch.from_numpy(taught).to(queries.device)]
    mean = liked.double().mean(0).float()
    if facts is None:
        return mean.expand(len(asked), -1)
    told = facts.known()[asked]
    found = facts.predict(taught, liked, asked)
    return torch.where(torch.from_numpy(told).to(queries.device)[:, None], found, mean)


def leaning_vectors(
    model: torch.nn.Module, graph: Graph, settings: TrainSettings, splits: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`target_vectors`, with queries that lean by `settings.export.recent_share` towards the latest likes of `splits`.

    A share of auto, which only a training resolves, is none, and so is any where likes have no time.
    """
    queries, items = target_vectors(model, graph, settings)
    if settings.export.recent_share in ("auto", 0):
        return queries, items
    likes = graph.histories(graph.relation(settings.target), splits)
    if likes.times is None:
        return queries, items
    recent = recent_vectors(items, likes, settings.export.recent_half_life)
    return leaning(queries, recent, float(settings.export.recent_share)), items


def target_vectors(model: torch.nn.Module, graph: Graph, settings: TrainSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Translated queries (heads, width) and effective items (tails, width), on the model's device."""
    tables, target = models.parameters_by_table(model), graph.relation(settings.target)
    relation = {name: tables[name][target.index, None] for name in models.relation_tables(settings)}
    entities = {name: tables[name] for name in models.entity_tables(settings)}

    def blocks(kind: str) -> list[models.Rows]:
        start, stop = graph.layout.range(kind)
        cuts = range(start, stop, _BLOCK_ROWS)
        chosen = [slice(at, min(at + _BLOCK_ROWS, stop)) for at in cuts] or [slice(start, stop)]
        return [{name: table[rows] for name, table in entities.items()} for rows in chosen]

    with torch.no_grad():
        queries = torch.cat([models.queries(settings, rows, relation) for rows in blocks(target.head_kind)])
        items = torch.cat([models.items(settings, rows) for rows in blocks(target.tail_kind)])
    return queries, items
