"""The unit of the source's times: as it was set, or found by what the first times look like."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import Source
from kgspark.spark.cleaning.values import ISO_TIME, TYPED_UNIT
from kgspark.tables import RATINGS, Columns

# What the text of a time looks like in each unit, from 1970 to the year 2286 and, finer than seconds, from 1973 on.
LOOKS = {
    "seconds": r"^[0-9]{1,10}(\.[0-9]*)?$",
    "milliseconds": r"^[0-9]{12,13}(\.[0-9]*)?$",
    "microseconds": r"^[0-9]{15,16}(\.[0-9]*)?$",
    "nanoseconds": r"^[0-9]{18,19}$",
    "iso": ISO_TIME,
}
# Lines whose times are looked at.
_LINES = 1_000


def known_unit(settings: SourceSettings, source: Source) -> str | None:
    """The unit of the times; None if only the times themselves tell."""
    if not settings.has_times:
        return "seconds"
    if source.layouts[RATINGS] is None and source.parquet[RATINGS].holds_times(Columns.TIMESTAMP):
        return TYPED_UNIT
    if settings.timestamp_unit != "auto":
        return settings.timestamp_unit
    return None if settings.has_own_columns else "seconds"


def collect_unit(texts: DataFrame, share: float) -> str:
    """The unit that the first times of `texts` look like; seconds if none of them looks like a time.

    share  the fraction of the times that may look otherwise, as bad lines do

    Raises InputError if more of them do: then only the user knows.
    """
    text = F.trim(Columns.TIMESTAMP)
    look = F.coalesce(*[F.when(text.rlike(pattern), F.lit(unit)) for unit, pattern in LOOKS.items()])
    first = texts.where(~F.col("header")).select(look.alias("unit"), text.alias("text")).limit(_LINES).toArrow()
    found = [(row["unit"], row["text"]) for row in first.to_pylist() if row["unit"] is not None]
    examples = dict(reversed(found))  # the first of each unit
    units = {unit: sum(other == unit for other, _ in found) for unit in examples}
    likely = [unit for unit in LOOKS if units.get(unit, 0) > share * len(found)]
    if len(likely) > 1:
        shown = " and ".join(f"{unit}, such as {examples[unit]!r}" for unit in likely)
        raise InputError(f"source.timestamp_unit: auto finds times that look like {shown}; set the unit")
    return likely[0] if likely else "seconds"
