"""A date as seconds: what a night may know ends with its date, and what a past night is judged by begins there."""

import datetime
from zoneinfo import ZoneInfo


def first_second(date: datetime.date, timezone: str) -> int:
    """Midnight at which the date begins in the time zone, in seconds since 1970."""
    return int(datetime.datetime.combine(date, datetime.time.min, ZoneInfo(timezone)).timestamp())


def date_of(second: float, timezone: str) -> datetime.date:
    """The date of a second since 1970 in the time zone."""
    return datetime.datetime.fromtimestamp(second, ZoneInfo(timezone)).date()
