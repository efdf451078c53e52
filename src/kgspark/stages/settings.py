"""All settings of a night in one frozen type, assembled from the sections that stand beside the code they steer."""

import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kgspark.config import Settings, merged
from kgspark.kge.settings import TrainSettings
from kgspark.retrieval.settings import AudienceSettings, RecommendSettings
from kgspark.spark.settings import (
    CleanSettings,
    RelationSettings,
    SessionSettings,
    SourceSettings,
    SplitSettings,
    TriplesSettings,
)
from kgspark.warehouse.settings import PublishSettings

DEFAULT_RELATIONS: dict[str, dict[str, Any]] = {
    "liked": {"table": "ratings", "head": "user", "tail": "movie", "where": "rating >= 4.0"},
    "has_genre": {
        "table": "movies",
        "head": "movie",
        "tail": {"kind": "genre", "column": "genres"},
        "explode": "genres",
        "weight": 0.1,
    },
    "released_in": {"table": "movies", "head": "movie", "tail": "year", "weight": 0.1},
    "has_gender": {"table": "users", "head": "user", "tail": "gender", "weight": 0.1, "optional": True},
    "has_age": {"table": "users", "head": "user", "tail": "age", "weight": 0.1, "optional": True},
    "has_occupation": {"table": "users", "head": "user", "tail": "occupation", "weight": 0.1, "optional": True},
    "tagged": {"table": "tags", "head": "movie", "tail": "tag", "weight": 0.1, "optional": True},
}


class EvaluateSettings(Settings):
    """What is measured on the held-out likes."""

    ks: tuple[int, ...] = Field((10, 20, 100), min_length=1, description="lengths of the lists that are measured")
    baselines: tuple[Literal["popularity", "implicit-als", "mllib-als"], ...] = Field(
        ("popularity",), description="measured beside the model; implicit-als needs the extra bench"
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
    train: TrainSettings = Field(default_factory=TrainSettings)
    recommend: RecommendSettings = Field(default_factory=RecommendSettings)
    audiences: AudienceSettings = Field(default_factory=AudienceSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
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

    @property
    def target(self) -> RelationSettings:
        """The relation that is held out, trained for and recommended from."""
        return self.relations[self.train.target]
