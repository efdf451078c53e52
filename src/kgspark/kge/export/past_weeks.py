"""What tomorrow's queries and scores have besides the model's own: the trend, and the lean towards the latest likes.

Held-out likes of all times cannot choose them. No one trend was known before all of these likes, and a model that has
learned the likes around a held-out one needs neither. The past weeks can: for the first moment of each, the lists are
made of queries that know only the earlier likes (`export.fold_in`), and the likes of the week judge them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from kgspark.graph.histories import Histories
from kgspark.kge.export.evaluation import metrics_by_user
from kgspark.kge.export.fold_in import QueryOfLikes
from kgspark.kge.export.recency import lean, recent_vectors
from kgspark.kge.export.trend import SECONDS_PER_DAY, Trend, column_of, log_shares, with_trend
from kgspark.kge.settings import TrainSettings

# Values that `auto` tries; half-lives in days.
_WEIGHTS = (0.5, 1.0, 2.0)
_HALF_LIVES = (3.0, 7.0, 14.0, 30.0)
_SHARES = (0.2, 0.35, 0.5)
# The weeks that decide, from the latest back: at least the first number, and on until there are enough lists.
_WEEKS, _MOST_WEEKS = 12, 52
_ENOUGH_LISTS, _MOST_LISTS_OF_A_WEEK = 1_000, 250
# Fewer lists decide nothing.
_LEAST_LISTS = 50
# A choice must be better than none by this many standard errors of the mean over lists.
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class _Week:
    """The lists of one week.

    start    its first second
    known    the likes of its users before it; wanted  those in it
    queries  float32 (users, width), as of its start
    """

    start: int
    known: Histories
    wanted: Histories
    queries: torch.Tensor


class PastWeeks:
    """The last weeks of likes, to choose by."""

    def __init__(self, queries: torch.Tensor, items: torch.Tensor, likes: Histories, settings: TrainSettings) -> None:
        """`queries` (users, width) and `items` of a model that was trained on `likes`, which have times."""
        self.items, self.likes, self.settings = items, likes, settings
        query_of = QueryOfLikes.fit(queries, items, likes)
        self.weeks = [
            _Week(start, known, wanted, query_of(known))
            for start, known, wanted in _users_of_weeks(likes, settings.seed)
        ]

    def choose_trend(self) -> Trend | None:
        """The trend with what `settings.export` has as auto chosen; None for none.

        A weight is chosen with its best half-life.
        """
        export = self.settings.export
        if export.trend_weight == 0:
            return None
        weights = _WEIGHTS if export.trend_weight == "auto" else (float(export.trend_weight),)
        half_lives = _HALF_LIVES if export.trend_half_life == "auto" else (float(export.trend_half_life),)
        none, *of_trends = self._figures([(0.0, None), *((0.0, Trend(*pair)) for pair in product(weights, half_lives))])
        figures = np.stack(of_trends).reshape(len(weights), len(half_lives), -1)
        best = figures.sum(axis=2).argmax(axis=1)
        chosen: int | None = 0
        if export.trend_weight == "auto":
            chosen = _least_needed(none, [of_weight[at] for of_weight, at in zip(figures, best, strict=True)])
        return None if chosen is None else Trend(weights[chosen], half_lives[best[chosen]])

    def choose_recent_share(self, trend: Trend | None) -> float:
        """The fraction of a query that comes from the mean of the latest likes, beside a chosen trend; 0 for none."""
        none, *of_shares = self._figures([(share, trend) for share in (0.0, *_SHARES)])
        chosen = _least_needed(none, of_shares)
        return 0.0 if chosen is None else _SHARES[chosen]

    def figures(self, share: float, trend: Trend | None) -> dict[str, float]:
        """The number of lists, and their NDCG@k with both and without either; {} without any list."""
        none, both = self._figures([(0.0, None), (share, trend)])
        if not len(none):
            return {}
        name = f"ndcg@{self.settings.validation.k}"
        return {"lists": len(none), name: float(both.mean()), f"{name}_without": float(none.mean())}

    def _figures(self, choices: Sequence[tuple[float, Trend | None]]) -> list[np.ndarray]:
        """NDCG@k float64 (lists,) of all weeks for each share of the latest likes with a trend."""
        settings = self.settings
        figures: list[list[np.ndarray]] = [[np.empty(0)] for _ in choices]
        for week in self.weeks:
            half_lives = {trend.trend_half_life for _, trend in choices if trend is not None}
            shares = {each: log_shares(self.likes, len(self.items), each, week.start) for each in half_lives}
            recent = recent_vectors(self.items, week.known, settings.export.recent_half_life)
            for (share, trend), of_choice in zip(choices, figures, strict=True):
                queries = lean(week.queries, recent, share) if share else week.queries
                column = None
                if trend is not None:
                    column = column_of(trend.trend_weight, settings.temperature, shares[trend.trend_half_life])
                space = with_trend(queries, self.items, "inner_product", column)
                k = settings.validation.k
                of_choice.append(metrics_by_user(*space, week.wanted, week.known, (k,))[f"ndcg@{k}"])
        return [np.concatenate(parts) for parts in figures]


def _least_needed(none: np.ndarray, tried: Sequence[np.ndarray]) -> int | None:
    """The first of the `tried` figures, which are ordered by strength, that is not clearly worse than the best of them.

    None if the best one is not clearly better than `none`. All are float64 (lists,).
    """
    best = max(tried, key=lambda figures: float(figures.sum()))
    if len(none) < _LEAST_LISTS or not _is_above(best, none, _STANDARD_ERRORS):
        return None
    return next(at for at, figures in enumerate(tried) if not _is_above(best, figures, 1.0))


def _is_above(figures: np.ndarray, others: np.ndarray, standard_errors: float) -> bool:
    lead = figures - others
    return bool(lead.mean() > standard_errors * lead.std(ddof=1) / np.sqrt(len(lead)))


def _users_of_weeks(likes: Histories, seed: int) -> Iterator[tuple[int, Histories, Histories]]:
    """For each week that decides: its first second, and the likes before it and in it, of some users with both."""
    assert likes.times is not None
    end, lists = int(likes.times.max(initial=0)) + 1, 0
    for number in range(_MOST_WEEKS):
        if number >= _WEEKS and lists >= _ENOUGH_LISTS:
            return
        start = end - 7 * SECONDS_PER_DAY
        inside = likes.where((likes.times >= start) & (likes.times < end))
        users = np.random.default_rng([seed, number]).permutation(np.flatnonzero(inside.sizes))
        known, wanted = likes.pick(users), inside.pick(users)
        assert known.times is not None
        known = known.where(known.times < start)
        chosen = np.flatnonzero(known.sizes)[:_MOST_LISTS_OF_A_WEEK]
        if len(chosen):
            yield start, known.pick(chosen), wanted.pick(chosen)
        end, lists = start, lists + len(chosen)
