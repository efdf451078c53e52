"""The table of metrics that `kgspark evaluate` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from kgspark.metrics.ranking import METRICS

_NOT_OF_LISTS = ("filtered_mrr", "coverage@10", "fit_seconds")


def comparison(rows: Sequence[Mapping[str, Any]], intervals: bool = False) -> str:
    """One line per model: the means over the seeds, with ± the deviation if there are several.

    rows       `model`, and `mean` and `deviation` by name of the figure; of one seed also `ci95`
    intervals  adds a line per model with the 95 % intervals over users, where there are some
    """
    known = (*(f"{name}@10" for name, metric in METRICS.items() if metric.shown), *_NOT_OF_LISTS)
    shown = [name for name in known if all(name in row["mean"] for row in rows)]
    width = max([14, *(len(row["model"]) + 2 for row in rows)])
    lines = [f"{'':<{width}}" + "".join(f"{name.replace('_', ' '):>16}" for name in shown)]
    for row in rows:
        cells = (_cell(name, row["mean"][name], row["deviation"].get(name)) for name in shown)
        lines.append(f"{row['model']:<{width}}" + "".join(f"{cell:>16}" for cell in cells))
        if intervals and (limits := row.get("ci95")):
            between = ("{:.4f}–{:.4f}".format(*limits[name]) if name in limits else "" for name in shown)
            lines.append((f"{'  95 %':<{width}}" + "".join(f"{cell:>16}" for cell in between)).rstrip())
    return "\n".join(lines)


def _cell(name: str, mean: float, deviation: float | None) -> str:
    digits = 1 if name.endswith("seconds") else 4
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation is not None else "")
