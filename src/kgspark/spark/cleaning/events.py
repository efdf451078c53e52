"""Events that are no ratings: each line gets a rating from its type and its number by one SQL expression."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kgspark.errors import ConfigError
from kgspark.spark.cleaning.scales import nearest, rating_at, steps_above
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.spark.cleaning.values import read_number
from kgspark.spark.sql_safety import first_line
from kgspark.tables import Columns

_DEFAULT = SourceSettings.model_fields["event_rating"].default
# Of ratings that an expression or a number in the source makes.
_ANY = Scale(-1e9, 1e9, 0.001)
EVENT_RATING = "event_rating"
# The columns that an expression reads, besides `event`.
_VALUE, _COUNT = "value", "count"


@dataclass(frozen=True)
class Events:
    """How events become ratings.

    rating      SQL expression over `value`, `count` and `event`
    has_counts  True if a column of the source holds `count`
    values      the value of each type, None for a type that is left out; empty if events have no type
    """

    rating: str
    has_counts: bool = False
    values: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def scale(self) -> Scale:
        """The scale of the ratings of single events."""
        if self.has_counts or self.rating != _DEFAULT:
            return _ANY
        values = sorted(value for value in self.values.values() if value is not None) or [1.0]
        thousandths = [round((value - values[0]) * 1000) for value in values]
        step = (math.gcd(*thousandths) or 1000) / 1000
        return Scale(values[0], max(values[-1], values[0] + step), step)

    @property
    def types(self) -> tuple[str, ...]:
        """The types that make ratings, in the order of the configuration; empty if events have no type."""
        return tuple(name for name, value in self.values.items() if value is not None)


def events_of(settings: SourceSettings) -> Events | None:
    """How the source's events become ratings; None if its lines have ratings."""
    if not settings.has_events:
        return None
    return Events(settings.event_rating, settings.columns.count is not None, settings.events)


def with_event_ratings(lines: DataFrame, events: Events, scale: Scale, decimal: str) -> DataFrame:
    """The lines with `EVENT_RATING`, double, at a step of the scale if it is between its ends. Lazy.

    lines  with the columns `rating` (the text of the number that an event has) and `event` (the text of its type)

    The rating is null if the number is none, or if the type has no value. `event` loses the blanks around it.
    ConfigError if Spark cannot resolve the expression.
    """
    count = read_number(F.col(Columns.RATING), decimal) if events.has_counts else F.lit(1.0)
    named = lines.withColumn(Columns.EVENT, F.trim(Columns.EVENT))
    parts = named.withColumns({_VALUE: _value_of_type(events), _COUNT: count})
    try:
        made = parts.withColumn(EVENT_RATING, F.expr(events.rating).cast("double"))
    except AnalysisException as error:
        raise ConfigError(
            f"source.event_rating: {first_line(error)}; it may read {_VALUE}, {_COUNT} and {Columns.EVENT}"
        ) from None
    rating = F.col(EVENT_RATING)
    on_scale = rating_at(nearest(steps_above(rating, scale)), scale)
    return made.withColumn(EVENT_RATING, F.when(rating.between(scale.low, scale.high), on_scale).otherwise(rating))


def has_unknown_type(events: Events | None) -> Column:
    """True for a line whose type, in the column `event`, is none of the source's types. Never null."""
    if events is None or not events.values:
        return F.lit(False)
    return ~F.coalesce(F.col(Columns.EVENT).isin(*events.values), F.lit(False))


def has_ignored_type(events: Events | None) -> Column:
    """True for a line whose type has null as its value. Never null."""
    ignored = [] if events is None else [name for name, value in events.values.items() if value is None]
    return F.coalesce(F.col(Columns.EVENT).isin(*ignored), F.lit(False)) if ignored else F.lit(False)


def bit_of_type(events: Events) -> Column:
    """A long with one bit, that of the type in the column `event`: the types of a pair are the OR of these, which Spark
    aggregates by hashing."""
    pairs = [part for i, name in enumerate(events.types) for part in (F.lit(name), F.lit(1 << i).cast("bigint"))]
    return F.try_element_at(F.create_map(*pairs), F.col(Columns.EVENT))


def bits_of_types(events: Events) -> Column:
    """The bits of the types in the column `events` of an earlier table."""
    bits = [
        F.when(F.array_contains(Columns.EVENTS, name), F.lit(1 << i).cast("bigint")).otherwise(F.lit(0).cast("bigint"))
        for i, name in enumerate(events.types)
    ]
    return reduce(Column.__add__, bits)


def types_of_bits(events: Events) -> Column:
    """The types as array<string>, in the order of the configuration, of bits in the column `events`."""
    has = [F.getbit(Columns.EVENTS, F.lit(i)) == 1 for i in range(len(events.types))]
    return F.array_compact(F.array(*[F.when(bit, F.lit(name)) for bit, name in zip(has, events.types, strict=True)]))


def _value_of_type(events: Events) -> Column:
    if not events.values:
        return F.lit(1.0)
    pairs = [part for name, value in events.values.items() for part in (F.lit(name), F.lit(value).cast("double"))]
    return F.try_element_at(F.create_map(*pairs), F.col(Columns.EVENT))
