"""The space of a search: the possible values of settings, by their dotted keys."""

from collections.abc import Mapping
from typing import Any

from kgspark.tuning.settings import Dimension, Value

Space = Mapping[str, Dimension]
# Dotted key to value.
Changes = Mapping[str, Value]


def as_number(value: Value) -> Value:
    """A text that is a number, as a number; any other value unchanged."""
    try:
        return float(value)
    except ValueError:
        return value


def matching(dimension: Dimension, value: Value) -> Value | None:
    """The value of `dimension` that equals `value` (0.1 and '0.1' are equal), or None if there is none."""
    number = as_number(value)
    if dimension.choices is not None:
        return next((choice for choice in dimension.choices if as_number(choice) == number), None)
    if isinstance(number, str) or not dimension.low <= number <= dimension.high:
        return None
    step = dimension.step or (1 if dimension.whole else None)
    if step is not None and abs((number - dimension.low) / step - round((number - dimension.low) / step)) > 1e-9:
        return None
    return int(number) if dimension.whole else number


def nested(changes: Changes) -> dict[str, Any]:
    """`{"train.dim": 64}` as `{"train": {"dim": 64}}`; a relation's name may contain dots."""
    sections: dict[str, Any] = {}
    for key, value in changes.items():
        name = relation_of(key)
        if name is not None:
            sections.setdefault("relations", {})[name] = {"weight": value}
        else:
            *groups, leaf = key.split(".")
            below = sections
            for group in groups:
                below = below.setdefault(group, {})
            below[leaf] = value
    return sections


def relation_of(key: str) -> str | None:
    """NAME of `relations.NAME.weight`; None for another key."""
    if key.startswith("relations.") and key.endswith(".weight") and len(key) > len("relations..weight"):
        return key.removeprefix("relations.").removesuffix(".weight")
    return None
