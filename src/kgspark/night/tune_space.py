"""Checks that `tune.space` names settings that can be searched, with values that fit them."""

import difflib
import math
from collections.abc import Collection
from typing import get_args

from pydantic import ValidationError

from kgspark.config import expectation, leaf_fields
from kgspark.kge.settings import TrainSection
from kgspark.tuning.settings import Dimension
from kgspark.tuning.space import Space, as_number, nested, relation_of

# Keys that change the evaluation itself, or that validation likes cannot judge.
_NOT_SEARCHED = frozenset(
    (
        *("target", "validation.k", "validation.users", "seed", "refit"),
        *("device", "threads", "workers", "checkpoint_every", "warm_start", "warm_epochs"),
    )
)


def check_space(space: Space, train: TrainSection, relations: Collection[str]) -> None:
    """ValueError with the dotted key if `tune.space` names a key that cannot be searched, or values that do not fit.

    train, relations  the settings that the space changes, and the names of the night's relations
    """
    for key, dimension in space.items():
        relation = relation_of(key)
        if relation is None:
            _check_train_key(train, key, dimension)
        else:
            _check_weight(relations, key, relation, dimension)


def _check_weight(relations: Collection[str], key: str, relation: str, dimension: Dimension) -> None:
    if relation not in relations:
        raise ValueError(f"tune.space.{key}: no relation {relation!r}; there are {', '.join(relations)}")
    weights = [as_number(value) for value in dimension.extremes]
    if not all(isinstance(weight, str) or 0 <= weight < math.inf for weight in weights):
        raise ValueError(f"tune.space.{key}: expected weights ≥ 0")


def _check_train_key(train: TrainSection, key: str, dimension: Dimension) -> None:
    where = f"tune.space.{key}"
    fields = {f"train.{'.'.join(path)}": field for path, field in leaf_fields(TrainSection)}
    if key not in fields:
        close = difflib.get_close_matches(key, fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{where}: expected a key of train, or relations.NAME.weight{hint}")
    if key.removeprefix("train.") in _NOT_SEARCHED:
        raise ValueError(f"{where}: cannot be searched, because validation cannot tell which value is better")
    if int in (fields[key].annotation, *get_args(fields[key].annotation)) and not dimension.whole:
        raise ValueError(f"{where}: expected whole numbers, written as such (1, not 1.0)")
    for value in dimension.extremes:
        try:
            train.changed(nested({key: value})["train"])
        except ValidationError as error:
            reason = expectation(*error.errors())
            raise ValueError(f"{where}: {value!r} does not fit {key}: {reason}") from None
