"""Ratings and times of ratings, read from text. Column expressions, fast for the texts that nearly every line has."""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, DoubleType, FloatType, NumericType, TimestampNTZType, TimestampType

from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.spark.ids import digits_or

# Ratings on a scale with more steps are parsed instead of looked up: a longer chain of comparisons would be slower.
_MOST_LOOKED_UP = 20
# \z and not $, which in Java also matches before a last line end.
_DECIMAL = r"^-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\z"
_NUMBER = r"^[0-9]+(?:\.[0-9]+)?\z"
_ZONE = r"(?:Z| ?UTC|[+-][0-9]{2}(?::?[0-9]{2})?)"
_CLOCK = r"[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
ISO_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:{_CLOCK}{_ZONE}?)?\z"
_ISO_TIME_WITH_ZONE = rf"{_CLOCK}{_ZONE}\z"
_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
# The unit of the texts of typed times.
TYPED_UNIT = "microseconds"


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
    return number.otherwise(_parsed_number(text))


def read_number(text: Column, decimal: str) -> Column:
    """The number in a text column, as double, or null; written like a rating."""
    return _parsed_number(text if decimal == "." else F.translate(text, f"{decimal}.", f".{decimal}"))


def _parsed_number(text: Column) -> Column:
    return F.when(F.trim(text).rlike(_DECIMAL), F.trim(text).try_cast("double"))


def read_time(text: Column, unit: str, timezone: str = "UTC", whole: bool = True) -> Column:
    """The time in a text column, in seconds since 1970; null if the text is no time.

    unit      seconds, milliseconds, microseconds or nanoseconds: digits, with a fraction or not; or iso: `2020-09-13`,
              `2020-09-13 12:43`, `2020-09-13T12:43:40.5+02:00`
    timezone  of an iso time without `Z`, ` UTC` and offset
    whole     True for bigint, without the fraction of a second; False for double, which is exact to a microsecond

    Blanks (U+0020) around a time are not part of it. No time are `+5`, `-5` and `1.6e9`.
    """
    trimmed, per_second = F.trim(text), _PER_SECOND.get(unit, 1)
    if unit == "iso":
        time = trimmed.try_cast("timestamp")
        if timezone != "UTC":
            time = F.when(trimmed.rlike(_ISO_TIME_WITH_ZONE), time).otherwise(F.to_utc_timestamp(time, timezone))
        seconds = F.unix_seconds(time) if whole else F.unix_micros(time) / 1e6
        return F.when(trimmed.rlike(ISO_TIME), seconds)
    is_number = trimmed.rlike(_NUMBER)
    if not whole:
        return digits_or(text, F.when(is_number, trimmed.try_cast("double"))) / float(per_second)
    number = digits_or(text, F.when(is_number, F.substring_index(trimmed, ".", 1).try_cast("bigint")))
    return number if per_second == 1 else F.call_function("div", number, F.lit(per_second))


def rating_text(value: Column, data_type: DataType, decimal: str) -> Column:
    """A rating of any type as text for `read_rating`."""
    text = value.cast("string")
    return F.translate(text, ".", decimal) if isinstance(data_type, NumericType) and decimal != "." else text


def time_text(value: Column, data_type: DataType, timezone: str = "UTC") -> Column:
    """A time of any type as text for `read_time`; typed timestamps and dates as numbers of the `TYPED_UNIT`.

    timezone  of dates and of timestamps without zone
    """
    if isinstance(data_type, TimestampType):
        return F.unix_micros(value).cast("string")
    if isinstance(data_type, TimestampNTZType | DateType):
        return F.unix_micros(F.to_utc_timestamp(value.cast("timestamp"), timezone)).cast("string")
    if isinstance(data_type, FloatType | DoubleType):  # the text of a large one has an exponent; NaN is a gap
        return F.when(F.abs(value) < float(1 << 53), value.cast("decimal(22,6)").cast("string"))
    return value.cast("string")
