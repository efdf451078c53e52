"""From trained weights to the search space that retrieval ranks with."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.kge.export.evidence import LIKES, evidence_of
from kgspark.kge.export.facts import Facts, facts_of
from kgspark.kge.export.fold_in import fold_in
from kgspark.kge.export.recency import known_before
from kgspark.kge.export.trend import trend_column, with_trend
from kgspark.kge.export.vectors import target_vectors, with_histories
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.two_tower import tower_of
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, FACTS, LEARNED, SOURCES, TEST, TRAIN, VALID


def export_search_space(
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    evidence: np.ndarray | None = None,
    encoder: HistoryEncoder | None = None,
    known: Sequence[str] | None = None,
    asked: np.ndarray | None = None,
) -> SearchSpace:
    """Queries and items of the target relation, which rank exactly as the model's `score_triples`.

    With `settings.export.recent_share`, queries then lean towards the latest likes, and with `trend_weight`, items have
    what is popular of late as one more coordinate. A user whose likes the model has not learned gets a query from
    these likes (`export.fold_in`); one without likes gets it from other facts, or the mean query of the trained users.

    evidence  of the model's vectors (see `export.evidence`); None if the model was trained on this graph
    encoder   of the histories; None for the mean of the latest likes
    known     splits that are known where the others are to be found; `recency.known_before` then says what counts.
              None for `settings.learned_splits`; a night's own space has nothing to be found
    asked     the times of the likes to predict, if they are known: see `with_histories`
    """
    target = graph.relation(settings.target)
    if evidence is None:
        evidence = evidence_of(graph, settings, settings.learned_splits)
    splits = known or settings.learned_splits
    likes = graph.histories(target, splits)
    if known is not None or settings.refit_on != "all":
        others = graph.histories(target, [split for split in (TRAIN, VALID, TEST) if split not in splits])
        settings = known_before(settings, others, likes)
    queries, own = target_vectors(model, graph, settings)
    kinds = (target.head_kind, target.tail_kind)
    learned_users, learned_movies = (evidence[slice(*graph.layout.range(kind))] == LIKES for kind in kinds)
    user_facts, movie_facts = (facts_of(kind, model, graph, settings, evidence) for kind in kinds)
    item_sources = _sources(learned_movies, movie_facts)
    folded = fold_in(queries, own, likes, learned_users, item_sources, settings)
    queries, items, metric = with_histories(queries, own, likes, settings, encoder, asked)
    query_sources = _sources(learned_users, user_facts)
    query_sources[folded] = SOURCES.index(FACTS)
    if learned_users.any() and not learned_users.all():
        unliked = ~(learned_users | folded)
        rows = torch.from_numpy(unliked).to(queries.device)
        queries[rows] = _unliked_queries(queries, learned_users, unliked, user_facts)
    queries, items, metric = with_trend(queries, items, metric, trend_for(graph, settings, splits))
    users, movies = (vectors.cpu().numpy().astype(np.float32, copy=False) for vectors in (queries, items))
    model_id = f"{settings.model}-{_digest(users, movies, query_sources, item_sources)[:12]}"
    offset = tower_of(settings).offset(model)
    return SearchSpace(users, movies, query_sources, item_sources, metric, offset, model_id, own.shape[1])


def trend_for(graph: Graph, settings: TrainSettings, splits: Sequence[str] | None = None) -> torch.Tensor | None:
    """The trend's coordinate float32 (movies,) after the likes of `splits`, those that the model learned by default."""
    target = graph.relation(settings.target)
    likes = graph.histories(target, splits or settings.learned_splits)
    return trend_column(settings, likes, graph.layout.count(target.tail_kind))


def _sources(learned: np.ndarray, facts: Facts | None) -> np.ndarray:
    known = np.zeros_like(learned) if facts is None else facts.known()
    of_likes, from_facts, average = (SOURCES.index(name) for name in (LEARNED, FACTS, AVERAGE))
    return np.select([learned, known], [of_likes, from_facts], average).astype(np.uint8)


def _unliked_queries(
    queries: torch.Tensor, liking: np.ndarray, unliked: np.ndarray, facts: Facts | None
) -> torch.Tensor:
    """Queries (n, width) of the users `unliked`: from their facts, or the mean query of the trained ones, `liking`."""
    learned, others = np.flatnonzero(liking), np.flatnonzero(unliked)
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
