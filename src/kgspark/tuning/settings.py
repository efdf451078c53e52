"""Settings of the search; importable without Optuna, so that a configuration can be checked anywhere."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_serializer, model_validator

from kgspark.config import Settings

Value = int | float | str


def _number(value: Any) -> Any:
    """Keeps whole numbers whole, because they make a range one of whole numbers."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
        return value
    raise ValueError("expected a number")


def _numbers_or_texts(values: Any) -> tuple[Value, ...]:
    if not isinstance(values, list | tuple) or not values:
        raise ValueError("expected a list of one or more choices")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"expected choices that are numbers or texts, one of them is {value!r}")
    if len({(type(value), value) for value in values}) < len(values):
        raise ValueError("expected choices that differ")
    return tuple(values)


Number = Annotated[Any, BeforeValidator(_number)]
Choices = Annotated[Any, BeforeValidator(_numbers_or_texts)]


class Dimension(Settings):
    """A searched setting: a list of choices, or a range.

    A range is one of whole numbers if `low`, `high` and `step` are written as whole numbers (1, not 1.0).
    """

    choices: Choices = Field(None, description="the values, if they are a list")
    low: Number = Field(None, description="the lowest value of a range")
    high: Number = Field(None, description="the highest value of a range")
    log: bool = Field(False, description="search on a logarithmic scale")
    step: Number = Field(None, description="the distance between neighbouring values of a range")

    @model_validator(mode="before")
    @classmethod
    def _list_is_choices(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return {"choices": _numbers_or_texts(value)}
        if not isinstance(value, cls | dict):
            raise ValueError("expected a list of choices, or {low, high, log, step}")
        return value

    @model_validator(mode="after")
    def _range_is_sound(self) -> "Dimension":
        if self.choices is not None:
            if self.low is not None or self.high is not None:
                raise ValueError("expected choices or a range, not both")
            return self
        if self.low is None or self.high is None:
            raise ValueError("expected a list of choices, or {low, high, log, step}")
        if not self.low < self.high:
            raise ValueError("expected low < high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("expected low > 0 and no step with log")
        if self.step is not None and (self.step <= 0 or (isinstance(self.step, float) and self._ends_are_whole)):
            raise ValueError("expected a step > 0, whole where low and high are")
        return self

    @model_serializer
    def _as_written(self) -> Any:
        if self.choices is not None:
            return list(self.choices)
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    @property
    def _ends_are_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def whole(self) -> bool:
        """True if only whole numbers are proposed."""
        if self.choices is not None:
            return all(isinstance(choice, int) for choice in self.choices)
        return self._ends_are_whole

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values to check in place of all: every choice, or both ends."""
        return (self.low, self.high) if self.choices is None else self.choices


DEFAULT_SPACE: dict[str, Any] = {
    "train.temperature": {"low": 0.1, "high": 0.3, "log": True},
    "train.dim": [128, 192, 256],
    "train.epochs": {"low": 8, "high": 20, "step": 4},
    "train.learning_rate": {"low": 0.001, "high": 0.01, "log": True},
    "train.dropout": {"low": 0.0, "high": 0.3},
    "relations.has_genre.weight": {"low": 0.01, "high": 1.0, "log": True},
    "relations.released_in.weight": {"low": 0.01, "high": 1.0, "log": True},
    "relations.tagged.weight": {"low": 0.01, "high": 1.0, "log": True},
}


class TuneSettings(Settings):
    """The search for better settings (kgspark tune), on the validation likes of evaluate.protocol or of the night."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="folder of the search in <lake>/tuning; null makes a name from data, space and settings",
    )
    trials: int = Field(40, ge=1, description="number of trainings, over all calls; the first uses the given settings")
    minutes: float | None = Field(
        None, gt=0, description="minutes after which no trial starts in this call; null: no limit"
    )
    seed: int = Field(42, ge=0, description="seed of the proposals")
    random: int = Field(10, ge=1, description="trials drawn at random before TPE learns from them")
    prune_after: float = Field(
        0.4,
        ge=0,
        le=1,
        description="fraction of its epochs after which a trial stops if it is below the median of the others",
    )
    space: dict[str, Dimension] = Field(
        default_factory=lambda: {key: Dimension.model_validate(value) for key, value in DEFAULT_SPACE.items()},
        min_length=1,
        description="dotted key to [choices] or {low, high, log, step}; any key of train, and relations.NAME.weight; a "
        "space in a file replaces this one",
    )

    @field_validator("space", mode="before")
    @classmethod
    def _dotted_names(cls, value: Any) -> Any:
        """`tune.space.train.dim=[64, 128]` on the command line arrives as nested mappings; null removes a key."""
        if not isinstance(value, dict):
            return value
        laid_over = dict(_leaves(value, ()))
        return {key: below for key, below in laid_over.items() if below is not None}


def _is_range(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value.keys() & Dimension.model_fields.keys())


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, below in value.items():
        here = (*path, *str(key).split("."))
        # The key of a relation's weight has three parts; a key of `train` is in a nested section or in none.
        whole = len(here) >= 3 if here[0] == "relations" else _is_range(below)
        if isinstance(below, Mapping) and not whole:
            yield from _leaves(below, here)
        else:
            yield ".".join(here), below
