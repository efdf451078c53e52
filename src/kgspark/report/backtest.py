"""The tables that `kgspark evaluate` prints for past nights."""

from collections.abc import Mapping, Sequence
from typing import Any

from kgspark.names import OURS, Names

_COUNTS = {
    "likes": "likes",
    "likes_of_new_users": "of new {users}",
    "likes_of_new_movies": "of new {movies}",
    "likes_in_reach": "in reach",
    "lists": "lists",
}
_METRICS = ("ndcg", "recall", "hit")
_NOTHING = "–"


def nights_table(
    nights: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], k: int, names: Names = OURS
) -> str:
    """One line per date and number of days: the likes that followed, and the NDCG of every model.

    nights  `date`, `days`, and the counts
    rows    `date`, `days`, `model`, and the metrics, if there was any list
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    found = {(row["date"], row["days"], row["model"]): row.get(f"ndcg@{k}") for row in rows}
    widths = [max(12, len(model) + 2) for model in models]
    counted = {name: names.fill(text) for name, text in _COUNTS.items()}
    wide = {name: max(15, len(text) + 2) for name, text in counted.items()}
    header = f"{'date':<12}{'days':>4}" + "".join(f"{text:>{wide[name]}}" for name, text in counted.items())
    lines = [
        f"Likes after each night, and NDCG@{k} of its lists",
        header + "".join(f"{model:>{width}}" for model, width in zip(models, widths, strict=True)),
    ]
    for night in nights:
        values = [found[night["date"], night["days"], model] for model in models]
        cells = [f"{_number(value):>{width}}" for value, width in zip(values, widths, strict=True)]
        counts = "".join(f"{night[name]:>{width},}" for name, width in wide.items())
        lines.append(f"{night['date']:<12}{night['days']:>4}{counts}{''.join(cells)}")
    return "\n".join(lines)


def pooled_table(
    counted: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], k: int, names: Names = OURS
) -> str:
    """For each number of days one line per model: metrics of all nights' lists, with intervals of NDCG and our lead."""
    lines = []
    for counts in counted:
        days = "1 day" if counts["days"] == 1 else f"{counts['days']} days"
        lines.append(f"All nights, {days}: {counts['lists']:,} lists of {counts['users']:,} {names.users}")
        columns = "".join(f"{f'{name}@{k}':>12}" for name in _METRICS)
        lines.append(f"{'':<20}{columns}{f'ndcg@{k}, 95 %':>20}{'our lead, 95 %':>20}")
        for row in (row for row in rows if row["days"] == counts["days"]):
            cells = "".join(f"{_number(row.get(f'{name}@{k}')):>12}" for name in _METRICS)
            limits = row["ci95"].get(f"ndcg@{k}")
            lead = row.get("lead", {}).get(f"ndcg@{k}", {}).get("ci95")
            lines.append(f"{row['model']:<20}{cells}{_interval(limits):>20}{_interval(lead):>20}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.4f}"


def _interval(limits: Sequence[float] | None) -> str:
    return _NOTHING if limits is None else f"{limits[0]:.4f} to {limits[1]:.4f}"
