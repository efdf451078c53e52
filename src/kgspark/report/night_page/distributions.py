"""How likes, ratings and times are distributed: counts in classes that widen with the number."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc

from kgspark.metrics.groups import EDGES, class_of
from kgspark.report.night_page.chart import Chart, Series
from kgspark.report.night_page.night import PageNight, has_columns, stream
from kgspark.report.night_page.triples import Likes
from kgspark.tables import RATINGS, Columns

_MOST_RATINGS, _MOST_MONTHS = 24, 360
_SECONDS_PER_DAY = 86_400


def class_names(edges: tuple[int, ...] = EDGES) -> list[str]:
    """The classes that begin at each edge, in words: `0`, `1`, `2–4`, …, `1k+`, `2k+`, …"""
    ends = [*(edge - 1 for edge in edges[1:]), None]
    return [_named(start, end) for start, end in zip(edges, ends, strict=True)]


def _named(start: int, end: int | None) -> str:
    if end is None or start >= 1000:
        return f"{start // 1000}k+" if start < 1_000_000 else f"{start // 1_000_000}M+"
    return f"{start}" if start == end else f"{start}–{end}"


def counts_by_class(numbers: np.ndarray) -> np.ndarray:
    """How many of the numbers (n,) are in each class, int64 (classes,)."""
    return np.bincount(class_of(numbers), minlength=len(EDGES))


def of_likes(night: PageNight, likes: Likes) -> dict[str, Chart]:
    """Charts of the number of likes of users, and of movies."""
    names = night.names
    found = {"user": (likes.of_users, names.users), "movie": (likes.of_movies, names.movies)}
    charts = {}
    for kind, (numbers, words) in found.items():
        counts = counts_by_class(numbers)
        first, last = np.flatnonzero(counts)[[0, -1]] if counts.any() else (0, 0)
        shown = slice(int(first), int(last) + 1)
        charts[f"likes_of_{kind}"] = Chart(
            "bars",
            class_names()[shown],
            [Series(words, counts[shown].tolist())],
            x_title=f"likes of a {names.of_kind(kind)}",
            y_title=words,
        )
    return charts


def of_ratings(night: PageNight) -> dict[str, Chart]:
    """Charts of the ratings' values, and of their times by month; without a column, there is no such chart."""
    folder = night.run.table(RATINGS)
    columns = [name for name in (Columns.RATING, Columns.TIMESTAMP) if has_columns(folder, [name])]
    values: Counter[float] = Counter()
    months: Counter[str] = Counter()
    for batch in stream(folder, columns):
        if Columns.RATING in columns:
            for row in pc.value_counts(batch[Columns.RATING].drop_null()).to_pylist():
                values[row["values"]] += row["counts"]
        if Columns.TIMESTAMP in columns:
            months.update(_months(np.asarray(batch[Columns.TIMESTAMP].drop_null())))
    charts = {}
    if len(values) > 1:
        charts["ratings"] = _of_values(values)
    if len(months) > 1:
        charts["months"] = _of_months(months)
    return charts


def _months(seconds: np.ndarray) -> dict[str, int]:
    days, counts = np.unique(seconds // _SECONDS_PER_DAY, return_counts=True)
    of_days = days.astype("datetime64[D]").astype("datetime64[M]")
    months, places = np.unique(of_days, return_inverse=True)
    return dict(zip(months.astype(str).tolist(), np.bincount(places, counts).astype(int).tolist(), strict=True))


def _of_values(values: Counter[float]) -> Chart:
    if len(values) <= _MOST_RATINGS:
        x = sorted(values)
        return Chart(
            "bars", [f"{it:g}" for it in x], [Series("ratings", [values[it] for it in x])], "rating", "ratings"
        )
    numbers, weights = np.array(list(values)), np.array(list(values.values()))
    counts, edges = np.histogram(numbers, bins=_MOST_RATINGS, weights=weights)
    names = [f"{low:.3g}–{high:.3g}" for low, high in pairwise(edges)]
    return Chart("bars", names, [Series("ratings", counts.astype(int).tolist())], "rating", "ratings")


def _of_months(months: Counter[str]) -> Chart:
    """Every month from the first to the last one; only the last of very many."""
    first, last = np.datetime64(min(months)), np.datetime64(max(months))
    every = np.arange(first, last + 1).astype(str).tolist()[-_MOST_MONTHS:]
    return Chart("area", every, [Series("ratings", [months[month] for month in every])], "month", "ratings")
