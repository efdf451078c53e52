"""Queries that lean towards a user's latest likes: tastes drift, and one vector per user averages over years.

For user u with the translated query q and the query r from the user's history:

    q'(u) = (1 − s) · q + s · ‖q‖ · r / ‖r‖

The result is still one vector, which FAISS handles as any other. r is e(u) of a trained encoder (`model.history`), or,
without one, the mean of the latest likes' own vectors: with the likes j, the latest first, weights w_j that halve every
`recent_half_life` positions and sum to 1, and items t,

    r = Σ_j w_j t_j

For unit items, q' · t then mixes the triple's own score with the squared distances between t and the latest likes.
Translation-based recommenders start from the last item instead of the user (He et al. 2017, “Translation-based
Recommendation”, use both).
"""

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.decays import recent_weights
from kgspark.graph.histories import Histories
from kgspark.kge.export.evaluation import metrics_by_user
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import Metric

# Values of `recent_share` that `auto` tries.
_SHARES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
# A share must be better than 0 by this many standard errors of the mean over users.
_STANDARD_ERRORS = 2.0
# Largest number of users whose validation likes decide.
_USERS = 20_000
# Number of users whose likes are gathered at once: bounds the memory.
_BLOCK_ROWS = 1 << 14
# Likes with a smaller weight are left out.
_LEAST_WEIGHT = 1e-4


def history_queries(
    items: torch.Tensor,
    likes: Histories,
    half_life: float,
    encoder: HistoryEncoder | None,
    asked: np.ndarray | None = None,
) -> torch.Tensor:
    """r (U, width) of all users, with length 1; zeros for a user without likes.

    items      (movies, width), of the model
    half_life  of `recent_vectors`, where there is no encoder
    asked      see `HistoryEncoder.queries`
    """
    if encoder is None:
        return recent_vectors(items, likes, half_life)
    return F.normalize(encoder.queries(likes, asked), dim=1)


def recent_vectors(items: torch.Tensor, likes: Histories, half_life: float) -> torch.Tensor:
    """r float32 (U, width) of all users, with length 1; zeros for a user without likes.

    items  (M, width)
    likes  of all users, with times
    """
    weights = recent_weights(likes, half_life)
    remembered = Histories(likes.indptr, likes.indices, weights).where(weights >= _LEAST_WEIGHT)
    blocks = []
    for start in range(0, max(len(likes), 1), _BLOCK_ROWS):
        chosen = remembered.pick(np.arange(start, min(start + _BLOCK_ROWS, len(likes))))
        arrays = (chosen.indices, chosen.entry_weights, chosen.indptr)
        parts = (torch.from_numpy(array).to(items.device) for array in arrays)
        tails, of_tails, starts = parts
        sums = F.embedding_bag(
            tails, items, starts, mode="sum", per_sample_weights=of_tails.to(items.dtype), include_last_offset=True
        )
        blocks.append(F.normalize(sums, dim=1))
    return torch.cat(blocks)


def lean(queries: torch.Tensor, recent: torch.Tensor, share: float) -> torch.Tensor:
    """q' (U, width) of queries (U, width) and `history_queries`; queries of users without likes do not change."""
    lengths = queries.norm(dim=1, keepdim=True)
    known = recent.any(dim=1, keepdim=True)
    return torch.where(known, (1 - share) * queries + share * lengths * recent, queries)


def share_that_follows(held_out: Histories, seen: Histories) -> float:
    """The fraction of held-out likes that are no earlier than any of their user's likes in `seen`.

    Users without likes in `seen` do not count; 0 if there are no others.

    held_out, seen  likes per user, with times
    """
    held_out = held_out.where((seen.sizes > 0)[held_out.rows()])
    if held_out.times is None or seen.times is None or not len(held_out.indices):
        return 0.0
    latest = np.full(len(seen), np.iinfo(np.int64).min, seen.times.dtype)
    np.maximum.at(latest, seen.rows(), seen.times)
    return float((held_out.times >= latest[held_out.rows()]).mean())


def follow(held_out: Histories, seen: Histories) -> bool:
    """True if most held-out likes are later than their user's likes in `seen`, which then can say what comes next."""
    return share_that_follows(held_out, seen) > 0.5


def all_later(held_out: Histories, seen: Histories) -> bool:
    """True if most held-out likes are later than all of `seen`; False without any, or without times."""
    if held_out.times is None or seen.times is None:
        return False
    return bool((held_out.times >= seen.times.max(initial=0)).sum() > len(held_out.times) / 2)


def known_before(settings: TrainSettings, held_out: Histories, seen: Histories) -> TrainSettings:
    """The settings without the parts of `export` that nobody could have known before the held-out likes.

    The latest likes of `seen` are known if most held-out likes are later than them, user by user; the trend of `seen`,
    and the day that follows, if they are later than all of `seen`.
    """
    if not follow(held_out, seen):
        settings = settings.with_export(recent_share=0.0)
    if not all_later(held_out, seen):
        settings = settings.with_export(trend_weight=0.0, when="unknown")
    return settings


def choose_recent_share(
    queries: torch.Tensor,
    items: torch.Tensor,
    metric: Metric,
    held_out: Histories,
    seen: Histories,
    half_life: float,
    k: int,
    encoder: HistoryEncoder | None = None,
) -> float:
    """The share s with the best NDCG@k on held-out likes; 0 unless it is clearly better than 0.

    It depends on the held-out likes: a large share is best for the latest likes, and 0 for likes from all times.

    queries, items  of the model that was trained on `seen`; held_out, seen: likes per user, `seen` with times
    """
    users = np.flatnonzero((held_out.sizes > 0) & (seen.sizes > 0))
    if seen.times is None or len(users) < 2 or metric not in ("inner_product", "l2"):
        return 0.0
    users = users[:: -(-len(users) // _USERS)]
    known, wanted = seen.pick(users), held_out.pick(users)
    own = queries[torch.from_numpy(users).to(queries.device)]

    def figures(queries: torch.Tensor, items: torch.Tensor, metric: Metric) -> np.ndarray:
        return metrics_by_user(queries, items, metric, wanted, known, (k,))[f"ndcg@{k}"]

    without = figures(own, items, metric)
    recent = history_queries(items, known, half_life, encoder)
    if encoder is not None:
        own, items = encoder.ranked(own, items)
        metric = encoder.ranked_by(metric)
    tried = {share: figures(lean(own, recent, share), items, metric) for share in _SHARES}
    chosen = max(tried, key=lambda share: float(tried[share].mean()))
    lead = tried[chosen] - without
    return chosen if lead.mean() > _STANDARD_ERRORS * lead.std(ddof=1) / np.sqrt(len(lead)) else 0.0
