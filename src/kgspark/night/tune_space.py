"""The check that `tune.space` names settings that can be searched, with values that fit them."""

import difflib
import math
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError

from kgspark.config import expectation, leaf_fields
from kgspark.kge.settings import TrainSection
from kgspark.tuning.settings import Dimension
from kgspark.tuning.space import as_number, relation_of

if TYPE_CHECKING:
    from kgspark.night.settings import NightSettings

# Keys that decide how figures are taken, or that validation likes say nothing about.
_NOT_SEARCHED = frozenset(
    (
        *("target", "validation.k", "validation.users", "seed", "refit"),
        *("device", "threads", "workers", "checkpoint_every", "warm_start"),
    )
)


def check_space(settings: "NightSettings") -> None:
    """ValueError with the dotted key where `tune.space` names what cannot be searched, or values that do not fit."""
    for key, dimension in settings.tune.space.items():
        relation = relation_of(key)
        if relation is None:
            _check_train_key(settings, key, dimension)
        else:
            _check_weight(settings, key, relation, dimension)


def _check_weight(settings: "NightSettings", key: str, relation: str, dimension: Dimension) -> None:
    if relation not in settings.relations:
        raise ValueError(f"tune.space.{key}: no relation {relation!r}; there are {', '.join(settings.relations)}")
    weights = [as_number(value) for value in dimension.extremes]
    if not all(isinstance(weight, str) or 0 <= weight < math.inf for weight in weights):
        raise ValueError(f"tune.space.{key}: expected weights ≥ 0")


def _check_train_key(settings: "NightSettings", key: str, dimension: Dimension) -> None:
    where = f"tune.space.{key}"
    fields = {f"train.{'.'.join(path)}": field for path, field in leaf_fields(TrainSection)}
    if key not in fields:
        close = difflib.get_close_matches(key, fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{where}: expected a key of train, or relations.NAME.weight{hint}")
    if key.removeprefix("train.") in _NOT_SEARCHED:
        raise ValueError(f"{where}: cannot be searched, for validation does not say which value is better")
    if int in (fields[key].annotation, *get_args(fields[key].annotation)) and not dimension.whole:
        raise ValueError(f"{where}: expected whole numbers, written as such (1, not 1.0)")
    for value in dimension.extremes:
        try:
            settings.changed({key: value})
        except ValidationError as error:
            reason = expectation(*error.errors())
            raise ValueError(f"{where}: {value!r} does not fit {key}: {reason}") from None
