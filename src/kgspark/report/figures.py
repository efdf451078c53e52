"""Tables of figures as text."""

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = ("ndcg@10", "recall@10", "mrr@10", "filtered_mrr", "coverage@10", "fit_seconds")


def comparison(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per model: the mean over seeds of each figure, and ± its deviation if there are several seeds.

    rows  `model`, and `mean` and `deviation` by name of the figure
    """
    shown = [name for name in _SHOWN if all(name in row["mean"] for row in rows)]
    lines = [f"{'':<14}" + "".join(f"{name.replace('_', ' '):>16}" for name in shown)]
    for row in rows:
        cells = (_cell(name, row["mean"][name], row["deviation"].get(name)) for name in shown)
        lines.append(f"{row['model']:<14}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _cell(name: str, mean: float, deviation: float | None) -> str:
    digits = 1 if name.endswith("seconds") else 4
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation is not None else "")
