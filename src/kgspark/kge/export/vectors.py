"""From a trained model to the vectors that rank as it does, with what its users' histories add to the queries."""

from collections.abc import Sequence

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.export.recency import history_queries, lean
from kgspark.kge.export.when import asked_by
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.two_tower import items_of, metric_of, queries_of
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import Metric

# Number of rows translated at once: bounds the temporary copies of large tables.
_BLOCK_ROWS = 1 << 16


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


def ranking_vectors(
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    splits: Sequence[str],
    encoder: HistoryEncoder | None = None,
) -> tuple[torch.Tensor, torch.Tensor, Metric]:
    """`with_histories` of `target_vectors` and the likes of `splits`."""
    likes = graph.histories(graph.relation(settings.target), splits)
    return with_histories(*target_vectors(model, graph, settings), likes, settings, encoder)


def with_histories(
    queries: torch.Tensor,
    items: torch.Tensor,
    likes: Histories,
    settings: TrainSettings,
    encoder: HistoryEncoder | None,
    asked: np.ndarray | None = None,
) -> tuple[torch.Tensor, torch.Tensor, Metric]:
    """`target_vectors`, with queries that lean by `settings.export.recent_share` towards the latest of the `likes`.

    `auto` counts as 0 here, and so does any share if likes have no times; then the encoder plays no part. ValueError if
    the encoder that the settings name is not given. The third value is the metric of the vectors.

    asked  the times of the likes to predict, if they are known: see `HistoryEncoder.queries`; None for those that
           `settings.export.when` asks for
    """
    own, metric = items, metric_of(settings)
    if settings.export.recent_share in ("auto", 0) or likes.times is None:
        return queries, own, metric
    if encoder is not None:
        queries, items = encoder.ranked(queries, own)
        metric = encoder.ranked_by(metric)
    elif settings.history.encoder != "latest":
        raise ValueError("these queries need the encoder of histories that was trained with the model")
    if asked is None:
        of_night = asked_by(likes, settings)
        asked = None if of_night is None else of_night.of(likes)
    recent = history_queries(own, likes, settings.export.recent_half_life, encoder, asked)
    return lean(queries, recent, float(settings.export.recent_share)), items, metric
