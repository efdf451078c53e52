"""A range of nights on the command line: `run_date=FIRST..LAST`."""

import datetime
from collections.abc import Sequence

from kgspark.errors import ConfigError

_KEY, _TO = "run_date=", ".."


def dates_in(overrides: Sequence[str]) -> list[str]:
    """The dates of the range that the overrides name, in order; empty if they name none.

    Raises ConfigError for a range that ends before it begins, or whose ends are no dates.
    """
    given = [text.removeprefix(_KEY) for text in overrides if text.startswith(_KEY)]
    if not given or _TO not in given[-1]:
        return []
    try:
        first, last = (datetime.date.fromisoformat(text) for text in given[-1].split(_TO))
    except ValueError:
        raise _not_a_range(given[-1]) from None
    if last < first:
        raise _not_a_range(given[-1])
    return [(first + datetime.timedelta(days)).isoformat() for days in range((last - first).days + 1)]


def at_date(overrides: Sequence[str], date: str) -> list[str]:
    """The overrides with one date in place of the range."""
    return [*(text for text in overrides if not text.startswith(_KEY)), f"{_KEY}{date}"]


def _not_a_range(found: str) -> ConfigError:
    return ConfigError(
        f"command line: run_date: expected FIRST{_TO}LAST, two dates as YYYY-MM-DD in this order, found {found!r}"
    )
