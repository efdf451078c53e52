"""All settings of a night in one frozen type, assembled from the sections that stand beside the code they steer."""

import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from kgspark.config import Settings, merged
from kgspark.kge.settings import TrainSettings
from kgspark.peers.settings import Baseline, PeerSettings
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
    "liked": {
        "table": "ratings",
        "head": "user",
        "tail": "movie",
        "where": "rating >= 4.0",
        "weight": "rating / 4",  # the warmer a like, the more it counts
    },
    "watched": {  # not learned; it tells who has no like apart
        "table": "ratings",
        "head": "user",
        "tail": "movie",
        "where": "rating < 4.0",
        "weight": 0.0,
    },
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


Protocol = Literal["random", "leave-one-out", "recbole", "time", "files"]


class EvaluateSettings(Settings):
    """What is measured on held-out likes, and beside what."""

    protocol: Protocol | None = Field(
        None,
        description="random (85/15), leave-one-out, recbole (≥ 3, 10-core, 8:1:1), time (≥ 3, the last fifth), files; "
        "null measures the night's own split",
    )
    train: Path | None = Field(None, description="protocol files: lines of `user item item ...` to train on")
    test: Path | None = Field(None, description="protocol files: lines of `user item item ...` to be found")
    ids: Literal["own", "source"] = Field(
        "own", description="protocol files: source where the ids are those of source.path, whose side tables then count"
    )
    seeds: tuple[int, ...] = Field((42,), min_length=1, description="of split and training, one measurement each")
    ks: tuple[PositiveInt, ...] = Field((10, 20, 100), min_length=1, description="lengths of the lists measured")
    baselines: tuple[Baseline, ...] = Field(
        ("popularity", "item-knn", "ease"),
        description="also mllib-als, and with the extra bench implicit-als and implicit-bpr",
    )
    peers: PeerSettings = Field(default_factory=PeerSettings, description="how the baselines are fitted")
    history: tuple[PositiveInt, PositiveInt] = Field(
        (10, 100), description="likes in training from which a user is no longer cold, and from which one is heavy"
    )
    resamples: int = Field(1000, ge=0, description="of users, for the 95 % confidence intervals; 0 for none")

    @model_validator(mode="after")
    def _files_are_named(self) -> "EvaluateSettings":
        if self.protocol == "files" and (self.train is None or self.test is None):
            raise ValueError("protocol files needs evaluate.train and evaluate.test")
        return self


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
