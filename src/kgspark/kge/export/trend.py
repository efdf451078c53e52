"""What is popular of late, as one more coordinate of queries and items: tomorrow's likes follow it.

With the decayed number of likes of movie m, r_m = Σ 2^(−age / half-life), and its share p_m of all likes,

    b_m = log((r_m + κ p_m) / (Σ r + κ)),    score(u, m) = q · t + w σ b_m = [q, 1] · [t, w σ b_m]

where σ is the temperature of the training. So exp(score / σ) is that of the model times the w-th power of the movie's
share of the latest likes. Koren 2009 (“Collaborative filtering with temporal dynamics”) has such a bias; Ji et al. 2020
(“A re-visit of the popularity baseline in recommender systems”) show what it is worth.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from kgspark.graph.histories import Histories
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import Metric, SearchSpace

SECONDS_PER_DAY = 86_400
# κ: the share of all time counts as much as so many likes.
_PRIOR = 100.0
# Likes older than this many half-lives are left out.
_HALF_LIVES = 20


@dataclass(frozen=True)
class Trend:
    """The values of `train.export`: w, and the half-life of a like in days."""

    trend_weight: float
    trend_half_life: float


def trend_of(settings: TrainSettings) -> Trend | None:
    """The trend that the settings name; None without one, and `auto` counts as none."""
    weight, half_life = settings.export.trend_weight, settings.export.trend_half_life
    if weight in ("auto", 0) or half_life == "auto":
        return None
    return Trend(float(weight), float(half_life))


def log_shares(
    likes: Histories, movies: int, half_life: float, before: int | None = None, counts: np.ndarray | None = None
) -> np.ndarray:
    """b float64 (movies,) of `likes`, which have times, as of the time `before`; None: after the latest of them.

    half_life  in days
    counts     int64 (movies,): the likes of each movie before that time, if `likes` lacks those that are too old
    """
    if likes.times is None:
        raise ValueError("likes without times have no trend")
    now = before if before is not None else int(likes.times.max(initial=0)) + 1
    known = likes.times < now
    latest = known & (likes.times > oldest(now, half_life))
    ages = (now - likes.times[latest]) / SECONDS_PER_DAY
    recent = np.bincount(likes.indices[latest], 0.5 ** (ages / half_life), movies)
    if counts is None:
        counts = np.bincount(likes.indices[known], minlength=movies)
    # Half a like more for each movie: one without a like has a small share, not none.
    share = (counts + 0.5) / (counts.sum() + 0.5 * movies)
    return np.log((recent + _PRIOR * share) / (recent.sum() + _PRIOR))


def oldest(now: int, half_life: float) -> float:
    """The time before which likes do not count for the trend of `now`; half_life in days."""
    return now - _HALF_LIVES * half_life * SECONDS_PER_DAY


def column_of(weight: float, temperature: float, shares: np.ndarray) -> torch.Tensor:
    """w σ b float32 (movies,) of the log shares b, up to a number that is the same for all movies."""
    # Off all of them, it changes no list, and keeps the numbers, and so their rounding, small.
    return torch.from_numpy(weight * temperature * (shares - shares.mean())).float()


def trend_column(settings: TrainSettings, likes: Histories, movies: int) -> torch.Tensor | None:
    """`column_of` the settings' trend after `likes`; None without one, or if likes have no times."""
    trend = trend_of(settings)
    if trend is None or likes.times is None:
        return None
    return column_of(trend.trend_weight, settings.temperature, log_shares(likes, movies, trend.trend_half_life))


def with_trend(
    queries: torch.Tensor, items: torch.Tensor, metric: Metric, column: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, Metric]:
    """Queries [q, 1], items [t, column] and their metric; what is given if `column` is None.

    The metric must be inner_product, or l2 with unit items, whose order is that of the inner products.
    """
    if column is None:
        return queries, items, metric
    ones = queries.new_ones(len(queries), 1)
    return torch.cat([queries, ones], 1), torch.cat([items, column.to(items)[:, None]], 1), "inner_product"


def without_trend(space: SearchSpace) -> SearchSpace:
    """The search space before `with_trend`. Audiences rank the users of a movie, and all have the same trend of it."""
    return replace(space, queries=space.queries[:, :-1], items=space.items[:, :-1])
