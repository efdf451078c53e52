"""Numbers of ratings on their scale: whole numbers, so that sums and packed values are exact."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from kgspark.spark.cleaning.source.dialects import Scale


def steps_above(rating: Column, scale: Scale) -> Column:
    """The number of steps, as double, from the low end of the scale to the rating."""
    return (rating - scale.low) / scale.step


def nearest(number: Column) -> Column:
    """The nearest integer, as bigint. Spark's `round` converts to decimal text, in a microsecond per number."""
    return F.floor(number + 0.5)


def rating_at(code: Column, scale: Scale) -> Column:
    """The rating, as double, so many steps above the low end: 0.3, while 3 × 0.1 would be 0.30000000000000004."""
    parts = parts_of_one(scale)
    if parts is None:
        return (code * scale.step + scale.low).cast("double")
    return ((code * round(scale.step * parts) + round(scale.low * parts)) / F.lit(float(parts))).cast("double")


def parts_of_one(scale: Scale) -> int | None:
    """The power of ten by which every rating on the scale becomes a whole number; None if it is above 1,000."""
    for parts in (1, 10, 100, 1000):
        low, step = scale.low * parts, scale.step * parts
        if abs(low - round(low)) + abs(step - round(step)) < 1e-9:
            return parts
    return None


def code_bits(scale: Scale) -> int:
    """Number of bits of the largest number on the scale."""
    return round((scale.high - scale.low) / scale.step).bit_length()
