"""evaluate.protocol=nights: past nights as they would have been, judged by what their users liked next."""

import datetime
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from kgspark.errors import ConfigError, StageError
from kgspark.experiments import list_ranks, past_nights
from kgspark.experiments.judged import Judged, judge, pool
from kgspark.experiments.recommenders import OURS
from kgspark.night.day import date_of, first_second
from kgspark.night.night import Night
from kgspark.report.backtest import nights_table, pooled_table
from kgspark.spark.frames import read_table
from kgspark.spark.later_likes import Span, collect_span
from kgspark.stages import clean_ratings
from kgspark.tables import RATINGS


def run(night: Night) -> dict[str, Any]:
    """Evaluates the nights of `evaluate.dates`; returns the object that `--json` prints."""
    settings = night.settings.evaluate
    clean_ratings.run(night)
    dates = _checked_dates(night)
    judged = [_judge_night(night, date) for date in dates]
    pooled = [pool(windows) for windows in zip(*judged, strict=True)]
    if not len(pooled[-1].users):
        raise StageError(
            f"evaluate.dates: no like of the {settings.days[-1]} days after these dates is of a user and a movie that "
            "were known before; choose other dates"
        )
    seed = night.settings.train.seed
    by_date = list(zip(map(str, dates), judged, strict=True))
    nights = [{"date": date, **window.counted()} for date, windows in by_date for window in windows]
    rows = [{"date": date, **row} for date, windows in by_date for w in windows for row in w.rows(settings, seed)]
    summary = [row for window in pooled for row in window.rows(settings, seed)]
    counted = [window.counted() for window in pooled]
    k = min(settings.ks)
    night.say(nights_table(nights, rows, k, night.settings.names))
    night.say(pooled_table(counted, summary, k, night.settings.names))
    return {
        "protocol": settings.protocol,
        "run_date": night.settings.run_date,
        "nights": nights,
        "pooled": counted,
        "rows": rows,
        "summary": summary,
    }


def _judge_night(night: Night, date: datetime.date) -> list[Judged]:
    """Makes the night of a date unless it is there; returns its lists as judged for each number of days."""
    settings = night.settings.evaluate
    past = past_nights.past_night(night, date)
    night.say(f"The night of {date}, with what was known before:")
    past_nights.run(night, past)
    list_ranks.find(night, past)
    likes = cache(partial(list_ranks.read_likes, past))
    for name in settings.compared:
        list_ranks.rank(past, name, likes)
    later = list_ranks.read_later_likes(past)
    ranks = {OURS: later.ranks} | {name: list_ranks.read_ranks(past, name) for name in settings.compared}
    return [judge(later, ranks, days, settings.ks) for days in settings.days]


def _checked_dates(night: Night) -> Sequence[datetime.date]:
    """The dates to evaluate. Raises ConfigError before anything is trained if one has no data."""
    settings, where = night.settings.evaluate, night.settings.target.where
    ratings, longest = read_table(night.spark, night.run.place(RATINGS)), settings.days[-1]
    span = collect_span(ratings, where, (), longest)
    timezone = night.settings.source.timezone
    first, last = (date_of(second, timezone) for second in (span.first, span.last))
    latest = last - datetime.timedelta(longest)
    apart = [latest - datetime.timedelta(longest * place) for place in range(settings.nights)]
    dates = settings.dates or tuple(reversed(apart))
    known = f"the ratings are from {first} to {last}"
    if dates[-1] > latest:
        raise ConfigError(
            f"evaluate.dates: the {longest} days from {dates[-1]} on are not all known; {known}, so the latest date "
            f"to evaluate is {latest}"
        )
    starts = [first_second(date, timezone) for date in dates]
    _check_likes(dates, collect_span(ratings, where, starts, longest), longest, known)
    return dates


def _check_likes(dates: Sequence[datetime.date], span: Span, days: int, known: str) -> None:
    for date, before, after in zip(dates, span.before, span.after, strict=True):
        if not before or not after:
            missing = "before it" if not before else f"in the {days} days from it on"
            raise ConfigError(f"evaluate.dates: {date} has no like {missing}; {known}; choose another date")
