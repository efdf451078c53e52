"""Queries of likes that the model has not learned: of new users, and of past moments. Nothing is trained.

A query is a linear function of the n items t that a user likes,

    q = A · Σ t / n + B · Σ t / √n + c

which is fitted by ridge regression on the queries of the users that the model was trained on. On MovieLens-1M it
explains nine tenths of their variance. (Folding in goes back to Sarwar et al. 2002, “Incremental singular value
decomposition algorithms for highly scalable recommender systems”.)
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.fold_in import QueryFunction
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.export.evidence import LIKES
from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.export.when import asked_by
from kgspark.kge.model.history import PREFIX, HistoryEncoder
from kgspark.kge.settings import TrainSettings, may_lean
from kgspark.search_space import SearchSpace
from kgspark.tables import AVERAGE, SOURCES

# Number of users to fit on, evenly chosen, and the ridge penalty.
_USERS = 20_000
_RIDGE = 1.0
# Number of users whose likes are gathered at once: bounds the memory.
_BLOCK_ROWS = 1 << 14


@dataclass(frozen=True)
class QueryOfLikes:
    """The function: float32 `items` (movies, width), and `weights` (2 · width + 1, width): A, B and c."""

    items: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def fit(cls, queries: torch.Tensor, items: torch.Tensor, likes: Histories) -> "QueryOfLikes":
        """Fits on the users with `likes`, whose `queries` (users, width) have learned them."""
        users = np.flatnonzero(likes.sizes)
        users = users[:: max(1, -(-len(users) // _USERS))]
        rows = _sums(items, likes.pick(users)).double()
        wanted = queries[torch.from_numpy(users).to(queries.device)].double()
        penalty = _RIDGE * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        return cls(items, torch.linalg.solve(rows.T @ rows + penalty, rows.T @ wanted).float())

    def __call__(self, likes: Histories) -> torch.Tensor:
        """Queries float32 (U, width) of all users of `likes`."""
        blocks = [np.arange(start, min(start + _BLOCK_ROWS, len(likes))) for start in range(0, len(likes), _BLOCK_ROWS)]
        parts = [_sums(self.items, likes.pick(rows)) @ self.weights for rows in blocks]
        return torch.cat([self.items[:0], *parts])


def _sums(items: torch.Tensor, likes: Histories) -> torch.Tensor:
    """Σ t / n, Σ t / √n and 1 of each user, float32 (U, 2 · width + 1)."""
    movies, starts, counts = (
        torch.from_numpy(part).to(items.device) for part in (likes.indices, likes.indptr, likes.sizes)
    )
    sums = F.embedding_bag(movies, items, starts, mode="sum", include_last_offset=True)
    counts = counts.clamp(min=1).float()[:, None]
    return torch.cat([sums / counts, sums / counts.sqrt(), torch.ones_like(counts)], dim=1)


def fold_in(
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
    model: torch.nn.Module,
    graph: Graph,
    settings: TrainSettings,
    evidence: np.ndarray,
    space: SearchSpace,
    encoder: HistoryEncoder | None = None,
) -> QueryFunction | None:
    """How a query of `space`, the exported one, follows from likes; None if scores are sums of distances.

    encoder  of the histories; None for the mean of the latest likes
    """
    if not may_lean(settings):
        return None
    target = graph.relation(settings.target)
    every = graph.histories(target, settings.learned_splits)
    likes = _of_placed(every, space.item_sources)
    learned = evidence[slice(*graph.layout.range(target.head_kind))] == LIKES
    queries, items = target_vectors(model, graph, settings)
    query_of = QueryOfLikes.fit(queries, items, likes.where(learned[likes.rows()]))
    share = 0.0 if likes.times is None or settings.export.recent_share == "auto" else settings.export.recent_share
    half_life, name = settings.export.recent_half_life, settings.history.encoder
    function = QueryFunction(query_of.weights.cpu().numpy(), share, half_life, name)
    if encoder is None or not share:
        return function
    tables = {name.removeprefix(PREFIX): table.float().cpu().numpy() for name, table in encoder.tables.items()}
    has_own_items = encoder.ranked(queries[:0], items)[1] is not items
    own_items = items.cpu().numpy() if has_own_items else None
    return replace(function, tables=tables, own_items=own_items, asked=asked_by(every, settings))


def _of_placed(likes: Histories, item_sources: np.ndarray) -> Histories:
    return likes.where((item_sources != SOURCES.index(AVERAGE))[likes.indices])
