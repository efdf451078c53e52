"""All settings of a night in one frozen type, assembled from the sections that stand beside the code they steer."""

import datetime
import difflib
import math
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from kgspark.config import Settings, leaf_fields, merged
from kgspark.kge.settings import TrainSection
from kgspark.night.default_graph import DEFAULT_RELATIONS
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.retrieval.settings import AudienceSettings, RecommendSettings
from kgspark.spark.settings import (
    CandidateSettings,
    CleanSettings,
    RelationSettings,
    SessionSettings,
    SourceSettings,
    SplitSettings,
    TriplesSettings,
)
from kgspark.tuning.settings import Dimension, TuneSettings, Value
from kgspark.tuning.space import Changes, as_number, nested, relation_of
from kgspark.warehouse.settings import PublishSettings

# What `tune.space` may not hold: what decides how figures are taken, or nothing that validation sees.
_NOT_SEARCHED = frozenset(
    (
        "target",
        "validation.k",
        "validation.users",
        "seed",
        "refit",
        "device",
        "threads",
        "workers",
        "checkpoint_every",
        "warm_start",
    )
)


class NightSettings(Settings):
    """One configuration file: a night from ratings to published tables."""

    lake: Path = Field(Path("lake"), description="folder of runs and warehouse, on a disk that every executor sees")
    run_date: str = Field(
        "today", validate_default=True, description="the night's name, YYYY-MM-DD; today is the date in UTC"
    )
    source: SourceSettings
    clean: CleanSettings = Field(default_factory=CleanSettings)
    relations: dict[str, RelationSettings] = Field(default_factory=dict, validate_default=True)
    split: SplitSettings = Field(default_factory=SplitSettings)
    triples: TriplesSettings = Field(default_factory=TriplesSettings)
    train: TrainSection = Field(default_factory=TrainSection)
    candidates: CandidateSettings = Field(default_factory=CandidateSettings)
    recommend: RecommendSettings = Field(default_factory=RecommendSettings)
    audiences: AudienceSettings = Field(default_factory=AudienceSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    tune: TuneSettings = Field(default_factory=TuneSettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    spark: SessionSettings = Field(default_factory=SessionSettings)

    @model_validator(mode="before")
    @classmethod
    def _default_relations(cls, value: Any) -> Any:
        """The file's relations are laid over the defaults; `name: null` takes one away."""
        if not isinstance(value, dict):
            return value
        given = value.get("relations") or {}
        return value | {"relations": merged(DEFAULT_RELATIONS, given)} if isinstance(given, dict) else value

    @field_validator("run_date", mode="before")
    @classmethod
    def _date(cls, value: Any) -> str:
        if value == "today":
            return datetime.datetime.now(datetime.UTC).date().isoformat()
        try:
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError("expected a date as YYYY-MM-DD, or today") from None

    @model_validator(mode="after")
    def _target_is_a_relation(self) -> "NightSettings":
        target = self.relations.get(self.train.target)
        if target is None:
            raise ValueError(f"train.target must be one of the relations {', '.join(self.relations)}")
        if (target.table, target.head.kind, target.tail.kind) != ("ratings", "user", "movie"):
            raise ValueError("train.target must name a relation from user to movie on table ratings")
        return self

    @model_validator(mode="after")
    def _space_fits(self) -> "NightSettings":
        """The default space is left alone: a night may lack relations that it names."""
        if "space" in self.tune.model_fields_set:
            for key, dimension in self.tune.space.items():
                _check_dimension(self, key, dimension)
        return self

    @model_validator(mode="after")
    def _lists_are_tables(self) -> "NightSettings":
        for key in ("allow", "deny"):
            name = getattr(self.candidates, key)
            if name is not None and name not in self.source.tables:
                known = ", ".join(self.source.tables) or "none is declared"
                raise ValueError(f"candidates.{key}: no table {name!r} in source.tables ({known})")
        return self

    @property
    def target(self) -> RelationSettings:
        """The relation that is held out, trained for and recommended from."""
        return self.relations[self.train.target]

    def changed(self, changes: Changes) -> "NightSettings":
        """The settings with dotted keys of `train` and `relations.NAME.weight` changed, as a file would have it."""
        sections = nested(changes)
        weights = {name: str(weighted["weight"]) for name, weighted in sections.get("relations", {}).items()}
        relations = self.relations | {
            name: self.relations[name].model_copy(update={"weight": weight}) for name, weight in weights.items()
        }
        return self.model_copy(update={"train": self.train.changed(sections.get("train", {})), "relations": relations})

    def at(self, key: str) -> Value:
        """The value of a dotted key that `changed` takes."""
        name = relation_of(key)
        if name is not None:
            return self.relations[name].weight
        value: Value = attrgetter(key.removeprefix("train."))(self.train.resolved())
        return value


def _check_dimension(settings: NightSettings, key: str, dimension: Dimension) -> None:
    """ValueError with the dotted key where `tune.space` names what cannot be searched, or values that do not fit."""
    where, (section, _, name) = f"tune.space.{key}", key.partition(".")
    relation = relation_of(key)
    if relation is not None:
        if relation not in settings.relations:
            raise ValueError(f"{where}: no relation {relation!r}; there are {', '.join(settings.relations)}")
        weights = [as_number(value) for value in dimension.extremes]
        if not all(isinstance(weight, str) or 0 <= weight < math.inf for weight in weights):
            raise ValueError(f"{where}: expected weights ≥ 0")
        return
    fields = {".".join(path): field for path, field in leaf_fields(TrainSection)}
    if section != "train" or name not in fields:
        close = difflib.get_close_matches(key, [f"train.{field}" for field in fields], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{where}: expected a key of train, or relations.NAME.weight{hint}")
    if name in _NOT_SEARCHED:
        raise ValueError(f"{where}: cannot be searched, for validation does not say which value is better")
    if int in (fields[name].annotation, *get_args(fields[name].annotation)) and not dimension.whole:
        raise ValueError(f"{where}: expected whole numbers, written as such (1, not 1.0)")
    for value in dimension.extremes:
        try:
            settings.changed({key: value})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].replace("Input should be", "expected")
            raise ValueError(f"{where}: {value!r} does not fit {key}: {reason}") from None
