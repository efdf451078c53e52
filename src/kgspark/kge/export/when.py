"""The time that a night's lists are for: what people choose depends on when they come back.

A nightly table is read on the day after the latest like, so the queries of an encoder that reads times may ask for noon
of that day (`graph.asked`). Whether that helps is measured by the validation likes of a later day than the like before:
a night in between could have asked for their day, but not for their second.
"""

import numpy as np
import torch

from kgspark.graph.asked import Asked, latest_times, longest_break, noon_of, within_break
from kgspark.graph.histories import Histories
from kgspark.kge.export.evaluation import metrics_by_user
from kgspark.kge.export.recency import history_queries, lean
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import Metric

# Asking must be better than not by this many standard errors of the mean over users; fewer users decide nothing.
_STANDARD_ERRORS, _LEAST_USERS = 2.0, 50
# Largest number of users whose validation likes decide.
_MOST_USERS = 20_000


def asked_by(likes: Histories, settings: TrainSettings) -> Asked | None:
    """What queries ask for that know the `likes`; None if the settings ask for nothing."""
    return Asked.after(likes) if settings.export.when == "tomorrow" else None


def choose_when(
    queries: torch.Tensor,
    items: torch.Tensor,
    metric: Metric,
    held_out: Histories,
    seen: Histories,
    encoder: HistoryEncoder,
    settings: TrainSettings,
) -> tuple[bool, dict[str, float]]:
    """Whether to ask, and the figures that say so: the number of users, and NDCG@k with asking and without.

    queries, items  of the model that was trained on `seen`; held_out, seen: likes per user, with times
    settings  with a share of the latest likes
    """
    users, asked = _of_a_later_day(held_out, seen)
    if len(users) < _LEAST_USERS:
        return False, {}
    known, wanted, k = seen.pick(users), held_out.pick(users), settings.validation.k
    own, ranked = encoder.ranked(queries[torch.from_numpy(users).to(queries.device)], items)

    def figures(times: np.ndarray | None) -> np.ndarray:
        recent = history_queries(items, known, settings.export.recent_half_life, encoder, times)
        leaning = lean(own, recent, float(settings.export.recent_share))
        return metrics_by_user(leaning, ranked, encoder.ranked_by(metric), wanted, known, (k,))[f"ndcg@{k}"]

    without, asking = figures(None), figures(asked)
    lead = asking - without
    is_better = bool(lead.mean() > _STANDARD_ERRORS * lead.std(ddof=1) / np.sqrt(len(lead)))
    name = f"ndcg@{k}"
    return is_better, {"users": len(users), name: float(asking.mean()), f"{name}_without": float(without.mean())}


def _of_a_later_day(held_out: Histories, seen: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Users whose first held-out like is of a later day than their latest like in `seen`, and what to ask for each."""
    if held_out.times is None or seen.times is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first = np.full(len(held_out), np.iinfo(np.int64).max)
    np.minimum.at(first, held_out.rows(), noon_of(held_out.times))
    users = np.flatnonzero((held_out.sizes > 0) & (seen.sizes > 0) & (first > noon_of(latest_times(seen))))
    users = users[:: max(1, -(-len(users) // _MOST_USERS))]
    return users, within_break(first[users], seen.pick(users), longest_break(seen))
