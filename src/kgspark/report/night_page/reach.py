"""What the published lists show of the catalogue: coverage, concentration, and how much the popular movies dominate."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from kgspark.metrics.beyond_accuracy import gini
from kgspark.metrics.groups import EDGES, class_of
from kgspark.report.night_page.chart import Chart, Series
from kgspark.report.night_page.distributions import class_names
from kgspark.report.night_page.night import PageNight, has_columns, stream
from kgspark.tables import RECOMMENDATIONS, Columns

# The first rows of the lists are counted, because few people look at the others.
K = 10
_CURVE_POINTS = 61


@dataclass(frozen=True)
class Reach:
    """How often the movies are in the first `K` rows of the lists, int64 (M,), tonight and in the night before."""

    shown: np.ndarray
    before: np.ndarray | None


def count_shown(night: PageNight) -> Reach:
    """Counts the rows of the lists, in batches."""
    before = night.context.before_lists
    columns = (Columns.RANK, night.names.movie_id)
    readable = before is not None and has_columns(before, columns)
    counted = _count(night, before) if before is not None and readable else None
    return Reach(_count(night, night.run.table(RECOMMENDATIONS)), counted)


def _count(night: PageNight, folder: Path) -> np.ndarray:
    counts = np.zeros(night.movies, np.int64)
    for batch in stream(folder, (night.names.movie_id,), pc.field(Columns.RANK) <= K):
        known = night.positions(batch[night.names.movie_id])
        counts += np.bincount(known[known >= 0], minlength=night.movies)
    return counts


def figures(night: PageNight, likes: np.ndarray, reach: Reach) -> dict[str, float]:
    """Coverage, Gini coefficient, and the mean share of users who like a recommended movie."""
    rows = max(int(reach.shown.sum()), 1)
    return {
        "coverage": float((reach.shown > 0).mean()) if night.movies else 0.0,
        "gini": gini(reach.shown),
        "liked_by": float((reach.shown * likes).sum() / rows / max(night.users, 1)),
        "top_share": float(np.sort(reach.shown)[::-1][: max(1, night.movies // 100)].sum() / rows),
    }


def charts(night: PageNight, likes: np.ndarray, reach: Reach) -> dict[str, Chart]:
    """How likes and rows are spread: by the popularity of movies, and over the whole catalogue."""
    names = night.names
    classes = class_of(likes)
    kept = np.flatnonzero(np.bincount(classes, minlength=len(EDGES)))
    shares = {
        f"of all {names.movies}": np.ones(len(likes)),
        "of the likes": likes,
        f"of the rows, 1 to {K}": reach.shown,
    }
    tones = ("past", "other", "main")
    series = [
        Series(name, _shares(np.bincount(classes, weights, len(EDGES))[kept]), tone)  # type: ignore[arg-type]
        for (name, weights), tone in zip(shares.items(), tones, strict=True)
    ]
    labels = [class_names()[place] for place in kept]
    bars = Chart("bars", labels, series, f"likes of the {names.movie}", "share", format=".0%")
    x = np.geomspace(1 / max(len(likes), 2), 1, _CURVE_POINTS)
    curves = [Series("likes", _curve(likes, x), "other"), Series(f"rows, 1 to {K}", _curve(reach.shown, x), "main")]
    title = f"share of the {names.movies}, those with the most first"
    return {
        "bias": bars,
        "concentration": Chart("lines", x.tolist(), curves, title, "share of all", format=".0%", log=True),
    }


def _shares(counts: np.ndarray) -> list[float]:
    return np.round(counts / max(counts.sum(), 1), 5).tolist()


def _curve(counts: np.ndarray, x: np.ndarray) -> list[float | None]:
    """The share of the total that fractions `x` (n,) of the movies have, the largest first."""
    totals = np.concatenate([[0], np.cumsum(np.sort(counts)[::-1])])
    at = np.maximum(np.rint(x * len(counts)).astype(int), 1) if len(counts) else np.zeros(len(x), int)
    return np.round(totals[at] / max(totals[-1], 1), 5).tolist()
