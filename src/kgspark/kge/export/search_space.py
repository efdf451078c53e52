"""From trained weights to the search space that retrieval ranks with."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from kgspark.fold_in import Function
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.export.evidence import LIKES, evidence_of
from kgspark.kge.export.facts import Facts, facts_of
from kgspark.kge.export.fold_in import QueryOfLikes
from kgspark.kge.export.recency import history_queries, known_before, lean
from kgspark.kge.export.trend import trend_column, with_trend
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.two_tower import items_of, metric_of, queries_of, tower_of
from kgspark.kge.settings import TrainSettings, may_lean
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, FACTS, LEARNED, SOURCES, TEST, TRAIN, VALID

# Number of rows translated at once: bounds the temporary copies of large tables.
_BLOCK_ROWS = 1 << 16


def export_search_space(
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    evidence: np.ndarray | None = None,
    encoder: HistoryEncoder | None = None,
    known: Sequence[str] | None = None,
) -> SearchSpace:
    """Queries and items of the target relation, which rank exactly as the model's `score_triples`.

    With `settings.export.recent_share`, queries then lean towards the latest likes, and with `trend_weight`, items have
    what is popular of late as one more coordinate. A user whose likes the model has not learned gets a query from
    these likes (`export.fold_in`); one without likes gets it from other facts, or the mean query of the trained users.

    evidence  of the model's vectors (see `export.evidence`); None if the model was trained on this graph
    encoder   of the histories; None for the mean of the latest likes
    known     splits that are known where the others are to be found; `recency.known_before` then says what counts.
              None for `settings.learned_splits`; a night's own space has nothing to be found
    """
    target = graph.relation(settings.target)
    if evidence is None:
        evidence = evidence_of(graph, settings, settings.learned_splits)
    splits = known or settings.learned_splits
    if known is not None or settings.refit_on != "all":
        others = graph.histories(target, [split for split in (TRAIN, VALID, TEST) if split not in splits])
        settings = known_before(settings, others, graph.histories(target, splits))
    queries, items = target_vectors(model, graph, settings)
    kinds = (target.head_kind, target.tail_kind)
    learned_users, learned_movies = (evidence[slice(*graph.layout.range(kind))] == LIKES for kind in kinds)
    user_facts, movie_facts = (facts_of(kind, model, graph, settings, evidence) for kind in kinds)
    item_sources = _sources(learned_movies, movie_facts)
    likes = graph.histories(target, splits)
    folded = _fold_in(queries, items, likes, learned_users, item_sources, settings)
    queries = _leaning(queries, items, likes, settings, encoder)
    query_sources = _sources(learned_users, user_facts)
    query_sources[folded] = SOURCES.index(FACTS)
    if learned_users.any() and not learned_users.all():
        unliked = ~(learned_users | folded)
        rows = torch.from_numpy(unliked).to(queries.device)
        queries[rows] = _unliked_queries(queries, learned_users, unliked, user_facts)
    queries, items, metric = with_trend(queries, items, metric_of(settings), trend_for(graph, settings, splits))
    users, movies = (vectors.cpu().numpy().astype(np.float32, copy=False) for vectors in (queries, items))
    model_id = f"{settings.model}-{_digest(users, movies, query_sources, item_sources)[:12]}"
    offset = tower_of(settings).offset(model)
    return SearchSpace(users, movies, query_sources, item_sources, metric, offset, model_id)


def trend_for(graph: Graph, settings: TrainSettings, splits: Sequence[str] | None = None) -> torch.Tensor | None:
    """The trend's coordinate float32 (movies,) after the likes of `splits`, those that the model learned by default."""
    target = graph.relation(settings.target)
    likes = graph.histories(target, splits or settings.learned_splits)
    return trend_column(settings, likes, graph.layout.count(target.tail_kind))


def ranking_vectors(
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    splits: Sequence[str],
    encoder: HistoryEncoder | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`target_vectors`, with queries that lean by `settings.export.recent_share` towards the latest likes of `splits`.

    `auto` counts as 0 here, and so does any share if likes have no times. ValueError if the encoder that the settings
    name is not given.
    """
    queries, items = target_vectors(model, graph, settings)
    likes = graph.histories(graph.relation(settings.target), splits)
    return _leaning(queries, items, likes, settings, encoder), items


def _leaning(
    queries: torch.Tensor,
    items: torch.Tensor,
    likes: Histories,
    settings: TrainSettings,
    encoder: HistoryEncoder | None,
) -> torch.Tensor:
    if settings.export.recent_share in ("auto", 0) or likes.times is None:
        return queries
    if encoder is None and settings.history.encoder != "latest":
        raise ValueError("these queries need the encoder of histories that was trained with the model")
    recent = history_queries(items, likes, settings.export.recent_half_life, encoder)
    return lean(queries, recent, float(settings.export.recent_share))


def _fold_in(
    queries: torch.Tensor,
    items: torch.Tensor,
    likes: Histories,
    learned: np.ndarray,
    item_sources: np.ndarray,
    settings: TrainSettings,
) -> np.ndarray:
    """Writes the queries of users with likes that the model has not learned; returns the mask bool (users,) of these.

    Movies without a vector do not count, and nor does any if scores are sums of distances.
    """
    likes = _of_placed(likes, item_sources)
    folded = ~learned & (likes.sizes > 0) & may_lean(settings) & learned.any()
    if folded.any():
        query_of = QueryOfLikes.fit(queries, items, likes.where(learned[likes.rows()]))
        queries[torch.from_numpy(folded).to(queries.device)] = query_of(likes.pick(np.flatnonzero(folded)))
    return folded


def function_of_likes(
    model: torch.nn.Module, graph: Graph, settings: TrainSettings, evidence: np.ndarray, space: SearchSpace
) -> Function | None:
    """How a query of `space`, the exported one, follows from likes; None if scores are sums of distances."""
    if not may_lean(settings):
        return None
    target = graph.relation(settings.target)
    likes = _of_placed(graph.histories(target, settings.learned_splits), space.item_sources)
    learned = evidence[slice(*graph.layout.range(target.head_kind))] == LIKES
    query_of = QueryOfLikes.fit(*target_vectors(model, graph, settings), likes.where(learned[likes.rows()]))
    share = 0.0 if likes.times is None or settings.export.recent_share == "auto" else settings.export.recent_share
    half_life, encoder = settings.export.recent_half_life, settings.history.encoder
    return Function(query_of.weights.cpu().numpy(), share, half_life, encoder)


def _of_placed(likes: Histories, item_sources: np.ndarray) -> Histories:
    return likes.where((item_sources != SOURCES.index(AVERAGE))[likes.indices])


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
