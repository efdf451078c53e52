"""Ratings and times of ratings, read from text. Column expressions, fast for the texts that nearly every line has."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, DoubleType, FloatType, NumericType, TimestampNTZType, TimestampType

from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.spark.ids import digits_or

# Ratings on a scale with more steps are parsed instead of looked up: a longer chain of comparisons would be slower.
_MOST_LOOKED_UP = 20
# \z and not $, which in Java also matches before a last line end.
_DECIMAL = r"^-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\z"
_SECONDS = r"^[0-9]+(?:\.[0-9]+)?\z"
ISO_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?\z"
)
_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
# A typed timestamp as a number of each unit, or as text for `iso`.
_IN_UNIT: dict[str, Callable[[Column], Column]] = {
    "seconds": F.unix_seconds,
    "milliseconds": F.unix_millis,
    "microseconds": F.unix_micros,
    "iso": lambda time: time,
}


def read_rating(text: Column, scale: Scale, decimal: str) -> Column:
    """The rating in a text column, as double, or null. The usual texts of the scale are looked up, not parsed.

    A rating is digits, with a minus sign, a fraction after the character `decimal` and an exponent or not. Blanks
    (U+0020) around it are not part of it. No rating are `+4`, `4f`, `0x4`, NaN and Infinity.
    """
    if decimal != ".":
        text = F.translate(text, f"{decimal}.", f".{decimal}")
    steps = round((scale.high - scale.low) / scale.step)
    usual = [scale.low + step * scale.step for step in range(steps, -1, -1)] if steps < _MOST_LOOKED_UP else []
    number = F.when(text.isNull(), F.lit(None).cast("double"))
    for value in usual:
        written = f"{value:.0f}" if scale.step % 1 == 0 else f"{round(value, 6)}"
        number = number.when(text == written, float(written))
    return number.when(F.trim(text).rlike(_DECIMAL), F.trim(text).try_cast("double"))


def read_time(text: Column, unit: str) -> Column:
    """The time in a text column, in whole seconds since 1970, as bigint; null if the text is no time.

    unit  seconds, milliseconds or microseconds: digits, with a fraction or not, which is cut off; or iso:
          `2020-09-13`, `2020-09-13 12:43`, `2020-09-13T12:43:40.5+02:00`, in UTC unless the text has an offset

    Blanks (U+0020) around a time are not part of it. No time are `+5`, `-5` and `1.6e9`.
    """
    trimmed = F.trim(text)
    if unit == "iso":
        return F.when(trimmed.rlike(ISO_TIME), F.unix_seconds(trimmed.try_cast("timestamp")))
    fraction = F.when(trimmed.rlike(_SECONDS), F.substring_index(trimmed, ".", 1).try_cast("bigint"))
    number = digits_or(text, fraction)
    per_second = _PER_SECOND[unit]
    return number if per_second == 1 else F.call_function("div", number, F.lit(per_second))


def rating_text(value: Column, data_type: DataType, decimal: str) -> Column:
    """A rating of any type as text for `read_rating`."""
    text = value.cast("string")
    return F.translate(text, ".", decimal) if isinstance(data_type, NumericType) and decimal != "." else text


def time_text(value: Column, data_type: DataType, unit: str) -> Column:
    """A time of any type as text for `read_time`. Typed timestamps and dates need no unit."""
    if isinstance(data_type, TimestampType | TimestampNTZType | DateType):
        return _IN_UNIT[unit](value.cast("timestamp")).cast("string")
    if isinstance(data_type, FloatType | DoubleType):  # the text of a large one has an exponent; NaN is a gap
        return F.when(F.abs(value) < float(1 << 53), F.floor(value).cast("string"))
    return value.cast("string")
