"""What tomorrow's queries and scores have besides the model's own: the trend, and the lean towards the latest likes.

Held-out likes of all times cannot choose them. No one trend was known before all of these likes, and a model that has
learned the likes around a held-out one needs neither. The past weeks can: for the first moment of each, the lists are
made of queries that know only the earlier likes (`export.fold_in`), and the likes of the week judge them. An encoder of
histories that they judge must not have learned what follows, so it is trained on the likes before them.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from kgspark.graph.asked import longest_break, noon_of, within_break
from kgspark.graph.histories import Histories
from kgspark.kge.export.evaluation import best_of, unseen_scores
from kgspark.kge.export.fold_in import QueryOfLikes
from kgspark.kge.export.recency import history_queries, lean
from kgspark.kge.export.trend import SECONDS_PER_DAY, Trend, column_of, log_shares, oldest
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.settings import TrainSettings
from kgspark.metrics.ranking import hit_matrix, ranking_metrics

# Values that `auto` tries; half-lives in days.
_WEIGHTS = (0.5, 1.0, 2.0)
_HALF_LIVES = (3.0, 7.0, 14.0, 30.0)
_SHARES = (0.2, 0.35, 0.5)
_ENCODED_SHARES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
# An encoder is judged by weeks that follow this fraction of the likes: it learns those alone.
_LEARNED_BEFORE = 0.8
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


class Choice(NamedTuple):
    """What queries and scores have besides the model's own.

    share    fraction of a query that comes from the latest likes
    trend    None for none
    encodes  whether the encoder makes that part, not the mean of the latest likes
    asks     whether the encoder is asked for the first day of the week, not for an unknown time
    """

    share: float = 0.0
    trend: Trend | None = None
    encodes: bool = False
    asks: bool = False


class PastWeeks:
    """The last weeks of likes, to choose by."""

    def __init__(self, queries: torch.Tensor, items: torch.Tensor, likes: Histories, settings: TrainSettings) -> None:
        """`queries` (users, width) and `items` of a model that was trained on `likes`, which have times."""
        assert likes.times is not None
        self.items, self.settings, self.weeks = items, settings, list[_Week]()
        self.encoder: HistoryEncoder | None = None
        self._judged: dict[Choice, np.ndarray] = {}
        end = int(likes.times.max(initial=0)) + 1
        # Of 20 years of likes, most are never read again.
        first = oldest(end - _MOST_WEEKS * _SECONDS, max(self._half_lives))
        self.latest = likes.where(likes.times > first)
        query_of, counts = QueryOfLikes.fit(queries, items, likes), likes.counts(len(items))
        for start, known, wanted in _users_of_weeks(likes, end, settings.seed):
            later = self.latest.where(_times(self.latest) >= start).counts(len(items))
            self.weeks.append(_Week(start, counts - later, known, wanted, query_of(known)))
        self._total, self._longest_break = len(likes.indices), longest_break(likes)

    def choose_trend(self) -> Trend | None:
        """The trend with what `settings.export` has as auto chosen; None for none.

        A weight is chosen with its best half-life.
        """
        export = self.settings.export
        if export.trend_weight == 0:
            return None
        weights = _WEIGHTS if export.trend_weight == "auto" else (float(export.trend_weight),)
        half_lives = self._half_lives
        trends = (Trend(*pair) for pair in product(weights, half_lives))
        none, *of_trends = self._figures([Choice(), *(Choice(trend=trend) for trend in trends)])
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
        none, *of_shares = self._figures([Choice(share, trend) for share in (0.0, *_SHARES)])
        chosen = _least_needed(none, of_shares)
        return 0.0 if chosen is None else _SHARES[chosen]

    def start(self) -> int | None:
        """The first second of the earliest week before which there are enough likes to train an encoder on."""
        starts = [week.start for week in self.weeks if week.counts.sum() >= _LEARNED_BEFORE * self._total]
        return min(starts, default=None)

    def encoded(self, encoder: HistoryEncoder) -> "PastWeeks":
        """The weeks that judge an encoder, which was trained on the likes before `start`."""
        start, weeks = self.start(), copy.copy(self)
        weeks.weeks = [week for week in self.weeks if start is not None and week.start >= start]
        weeks.encoder, weeks._judged = encoder, {}
        return weeks

    def choose_encoder(self, instead: Choice) -> Choice:
        """The best choice with the encoder, with the trend of `instead` or none; `instead` unless that is better.

        It must also be clearly better than nothing. Asking for a time must be clearly better than not.
        """
        trends = dict.fromkeys((instead.trend, None))
        tried = [Choice(share, trend, encodes=True) for trend in trends for share in _ENCODED_SHARES]
        if self.settings.export.when == "tomorrow":
            tried = [choice._replace(asks=True) for choice in tried]
        none, today, *figures = self._figures([Choice(), instead, *tried])
        best = max(range(len(tried)), key=lambda at: float(figures[at].sum()))
        if len(none) < _LEAST_LISTS or not _is_above(figures[best], none, _STANDARD_ERRORS):
            return instead
        chosen, found = tried[best], figures[best]
        if self.encoder is not None and self.encoder.knows_when and self.settings.export.when == "auto":
            asking = chosen._replace(asks=True)
            (of_asking,) = self._figures([asking])
            if _is_above(of_asking, found, _STANDARD_ERRORS):
                chosen, found = asking, of_asking
        return chosen if _is_above(found, today, 0.0) else instead

    def figures(self, choice: Choice) -> dict[str, float]:
        """The number of lists, and their NDCG@k with what was chosen and without; {} without any list."""
        none, chosen = self._figures([Choice(), choice])
        if not len(none):
            return {}
        name = f"ndcg@{self.settings.validation.k}"
        return {"lists": len(none), name: float(chosen.mean()), f"{name}_without": float(none.mean())}

    def _figures(self, choices: Sequence[Choice]) -> list[np.ndarray]:
        """NDCG@k float64 (lists,) of all weeks for each choice."""
        new = [choice for choice in choices if choice not in self._judged]
        parts = [self._figures_of(week, new) for week in self.weeks]
        for at, choice in enumerate(new):
            self._judged[choice] = np.concatenate([np.empty(0), *(of_week[at] for of_week in parts)])
        return [self._judged[choice] for choice in choices]

    def _figures_of(self, week: _Week, choices: Sequence[Choice]) -> list[np.ndarray]:
        settings, movies, k = self.settings, len(self.items), self.settings.validation.k
        trends = {choice.trend for choice in choices if choice.trend is not None}
        half_lives = {trend.trend_half_life for trend in trends}
        shares = {each: log_shares(self.latest, movies, each, week.start, week.counts) for each in half_lives}
        columns = {
            trend: column_of(trend.trend_weight, settings.temperature, shares[trend.trend_half_life]).to(self.items)
            for trend in trends
        }
        lists = {choice: np.full((len(week.known), k), -1, np.int64) for choice in choices}
        for vectors in dict.fromkeys(choice._replace(trend=None) for choice in choices):
            queries, items = self._vectors(week, vectors)
            for rows, scores in unseen_scores(queries, items, "inner_product", week.known):
                for choice in (choice for choice in choices if choice._replace(trend=None) == vectors):
                    trended = scores if choice.trend is None else scores + columns[choice.trend]
                    lists[choice][rows] = best_of(trended, k)
        wanted = week.wanted
        hits = [hit_matrix(lists[choice], wanted.indptr, wanted.indices, movies) for choice in choices]
        return [ranking_metrics(found, wanted.sizes, (k,))[f"ndcg@{k}"] for found in hits]

    def _vectors(self, week: _Week, choice: Choice) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and items by a share of the latest likes, compared by the inner product."""
        if not choice.share:
            return week.queries, self.items
        encoder, half_life = self.encoder if choice.encodes else None, self.settings.export.recent_half_life
        asked = self._first_day(week) if choice.asks else None
        queries, items = (week.queries, self.items) if encoder is None else encoder.ranked(week.queries, self.items)
        return lean(queries, history_queries(self.items, week.known, half_life, encoder, asked), choice.share), items

    def _first_day(self, week: _Week) -> np.ndarray:
        """Noon int64 (users,) of the first day of the week, or the longest usual break after the user's latest like."""
        noon = np.full(len(week.known), noon_of(np.array([week.start]))[0])
        return within_break(noon, week.known, self._longest_break)


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
