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
from kgspark.kge.export.evaluation import best_of, unseen_scores
from kgspark.kge.export.fold_in import QueryOfLikes
from kgspark.kge.export.recency import lean, recent_vectors
from kgspark.kge.export.trend import SECONDS_PER_DAY, Trend, column_of, log_shares, oldest
from kgspark.kge.settings import TrainSettings
from kgspark.metrics.ranking import hit_matrix, ranking_metrics

# Values that `auto` tries; half-lives in days.
_WEIGHTS = (0.5, 1.0, 2.0)
_HALF_LIVES = (3.0, 7.0, 14.0, 30.0)
_SHARES = (0.2, 0.35, 0.5)
# The weeks that decide, from the latest back: at least the first number, and on until there are enough lists.
_WEEKS, _MOST_WEEKS, _SECONDS = 12, 52, 7 * SECONDS_PER_DAY
_ENOUGH_LISTS, _MOST_LISTS_OF_A_WEEK = 1_000, 250
# Fewer lists decide nothing.
_LEAST_LISTS = 50
# A choice must be better than none by this many standard errors of the mean over lists.
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class _Week:
    """The lists of one week.

    start    its first second
    counts   int64 (movies,): the likes of each movie before it
    known    the likes of its users before it; wanted  those in it
    queries  float32 (users, width), as of its start
    """

    start: int
    counts: np.ndarray
    known: Histories
    wanted: Histories
    queries: torch.Tensor


class PastWeeks:
    """The last weeks of likes, to choose by."""

    def __init__(self, queries: torch.Tensor, items: torch.Tensor, likes: Histories, settings: TrainSettings) -> None:
        """`queries` (users, width) and `items` of a model that was trained on `likes`, which have times."""
        assert likes.times is not None
        self.items, self.settings, self.weeks = items, settings, list[_Week]()
        self._judged: dict[tuple[float, Trend | None], np.ndarray] = {}
        end = int(likes.times.max(initial=0)) + 1
        # Of 20 years of likes, most are never read again.
        first = oldest(end - _MOST_WEEKS * _SECONDS, max(self._half_lives))
        self.latest = likes.where(likes.times > first)
        query_of, counts = QueryOfLikes.fit(queries, items, likes), likes.counts(len(items))
        for start, known, wanted in _users_of_weeks(likes, end, settings.seed):
            later = self.latest.where(_times(self.latest) >= start).counts(len(items))
            self.weeks.append(_Week(start, counts - later, known, wanted, query_of(known)))

    def choose_trend(self) -> Trend | None:
        """The trend with what `settings.export` has as auto chosen; None for none.

        A weight is chosen with its best half-life.
        """
        export = self.settings.export
        if export.trend_weight == 0:
            return None
        weights = _WEIGHTS if export.trend_weight == "auto" else (float(export.trend_weight),)
        half_lives = self._half_lives
        none, *of_trends = self._figures([(0.0, None), *((0.0, Trend(*pair)) for pair in product(weights, half_lives))])
        figures = np.stack(of_trends).reshape(len(weights), len(half_lives), -1)
        best = figures.sum(axis=2).argmax(axis=1)
        chosen: int | None = 0
        if export.trend_weight == "auto":
            chosen = _least_needed(none, [of_weight[at] for of_weight, at in zip(figures, best, strict=True)])
        return None if chosen is None else Trend(weights[chosen], half_lives[best[chosen]])

    @property
    def _half_lives(self) -> tuple[float, ...]:
        half_life = self.settings.export.trend_half_life
        return _HALF_LIVES if half_life == "auto" else (float(half_life),)

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
        new = [choice for choice in choices if choice not in self._judged]
        parts = [self._figures_of(week, new) for week in self.weeks]
        for at, choice in enumerate(new):
            self._judged[choice] = np.concatenate([np.empty(0), *(of_week[at] for of_week in parts)])
        return [self._judged[choice] for choice in choices]

    def _figures_of(self, week: _Week, choices: Sequence[tuple[float, Trend | None]]) -> list[np.ndarray]:
        settings, movies, k = self.settings, len(self.items), self.settings.validation.k
        trends = {trend for _, trend in choices if trend is not None}
        half_lives = {trend.trend_half_life for trend in trends}
        shares = {each: log_shares(self.latest, movies, each, week.start, week.counts) for each in half_lives}
        columns = {
            trend: column_of(trend.trend_weight, settings.temperature, shares[trend.trend_half_life]).to(self.items)
            for trend in trends
        }
        recent = recent_vectors(self.items, week.known, settings.export.recent_half_life)
        lists = {choice: np.full((len(week.known), k), -1, np.int64) for choice in choices}
        for share in {share for share, _ in choices}:
            queries = lean(week.queries, recent, share)
            for rows, scores in unseen_scores(queries, self.items, "inner_product", week.known):
                for _, trend in (choice for choice in choices if choice[0] == share):
                    trended = scores if trend is None else scores + columns[trend]
                    lists[share, trend][rows] = best_of(trended, k)
        wanted = week.wanted
        hits = [hit_matrix(lists[choice], wanted.indptr, wanted.indices, movies) for choice in choices]
        return [ranking_metrics(found, wanted.sizes, (k,))[f"ndcg@{k}"] for found in hits]


def _times(likes: Histories) -> np.ndarray:
    assert likes.times is not None
    return likes.times


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


def _users_of_weeks(likes: Histories, end: int, seed: int) -> Iterator[tuple[int, Histories, Histories]]:
    """For each week that decides: its first second, and the likes before it and in it, of some users with both."""
    lately, lists = likes.where(_times(likes) >= end - _MOST_WEEKS * _SECONDS), 0
    for number in range(_MOST_WEEKS):
        if number >= _WEEKS and lists >= _ENOUGH_LISTS:
            return
        start = end - _SECONDS
        inside = lately.where((_times(lately) >= start) & (_times(lately) < end))
        users = np.random.default_rng([seed, number]).permutation(np.flatnonzero(inside.sizes))
        known, wanted = likes.pick(users), inside.pick(users)
        known = known.where(_times(known) < start)
        chosen = np.flatnonzero(known.sizes)[:_MOST_LISTS_OF_A_WEEK]
        if len(chosen):
            yield start, known.pick(chosen), wanted.pick(chosen)
        end, lists = start, lists + len(chosen)
