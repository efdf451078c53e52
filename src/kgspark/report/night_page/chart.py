"""A chart as data: the page draws it with plotly, in the colours of its theme."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

# Where a series stands: the model's, what it is compared with, earlier ones, or one of several equal ones.
Tone = Literal["main", "other", "past", "good", "bad", "each"]


@dataclass(frozen=True)
class Series:
    """Values of a chart, one per x; None leaves a gap."""

    name: str
    y: Sequence[float | None]
    tone: Tone = "main"


@dataclass(frozen=True)
class Chart:
    """Bars, rows of bars that are stacked, lines or an area, over the same x.

    x       texts (a category each), or numbers
    format  d3's format of the values, for axis and hover
    mark    an x to mark with a vertical line, with its text
    """

    kind: Literal["bars", "rows", "lines", "area"]
    x: Sequence[Any]
    series: Sequence[Series]
    x_title: str = ""
    y_title: str = ""
    format: str = ",d"
    log: bool = False
    mark: tuple[Any, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields, in JSON's types."""
        return asdict(self)
