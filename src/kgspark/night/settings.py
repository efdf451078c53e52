"""All settings of a night in one frozen type. Each section is defined next to the code that reads it."""

import datetime
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kgspark.config import IN_FILE, PlainName, Settings, distinct_names
from kgspark.kge.settings import TrainSection
from kgspark.names import Names
from kgspark.night.default_graph import DEFAULT_RELATIONS, with_defaults
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.times import check_needs_no_times
from kgspark.night.tune_space import check_space
from kgspark.observers.settings import ObserveSettings
from kgspark.report.contract.settings import ContractSettings
from kgspark.report.night_page.settings import ReportSettings
from kgspark.retrieval.reason_templates import CASES
from kgspark.retrieval.settings import AudienceSettings, RecommendSettings, SimilarSettings, VectorSettings
from kgspark.runs import Verify, run_dates
from kgspark.spark.cleaning.settings import CleanSettings, SourceSettings, has_column
from kgspark.spark.graph.settings import RelationSettings, SplitSettings, TriplesSettings
from kgspark.spark.ranking.audit.settings import AuditSettings
from kgspark.spark.ranking.rule_settings import RuleSettings
from kgspark.spark.ranking.settings import CandidateSettings
from kgspark.spark.settings import SessionSettings
from kgspark.stores.copies import open_lake, usual_folder
from kgspark.stores.uris import checked_uri, is_uri
from kgspark.tuning.settings import TuneSettings, Value
from kgspark.tuning.space import Changes, nested, relation_of
from kgspark.warehouse.settings import KeepSettings, PublishSettings


class NightSettings(Settings):
    """All keys of a night with their defaults."""

    lake: Annotated[Path, IN_FILE] = Field(
        Path("lake"),
        description="folder of runs and warehouse, on a disk that all executors see; or s3://, gs:// or abfss://: then "
        "store is this URI, and this machine's copy is in ~/.cache/kgspark",
    )
    store: str | None = Field(
        None, description="URI of the object store that has the lake; lake is then the folder of this machine's copy"
    )
    run_date: str = Field(
        "today",
        validate_default=True,
        description="the night's name, YYYY-MM-DD; today is the date in UTC, latest is the newest night in the lake",
    )
    verify: Verify = Field(
        "full",
        description="full compares each file that a stage reads with its checksum; fast does so for vectors, models "
        "and shards only, and compares names, sizes and rows of the rest",
    )
    source: SourceSettings
    clean: CleanSettings = Field(default_factory=CleanSettings)
    relations: dict[PlainName, RelationSettings] = Field(
        default_factory=dict, validate_default=True, examples=[DEFAULT_RELATIONS]
    )
    split: SplitSettings = Field(default_factory=SplitSettings)
    triples: TriplesSettings = Field(default_factory=TriplesSettings)
    train: TrainSection = Field(default_factory=TrainSection)
    candidates: CandidateSettings = Field(default_factory=CandidateSettings)
    rules: RuleSettings = Field(default_factory=RuleSettings)
    recommend: RecommendSettings = Field(default_factory=RecommendSettings)
    audiences: AudienceSettings = Field(default_factory=AudienceSettings)
    similar_items: SimilarSettings = Field(default_factory=SimilarSettings)
    vectors: VectorSettings = Field(default_factory=VectorSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    tune: TuneSettings = Field(default_factory=TuneSettings)
    names: Names = Field(default_factory=Names)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    keep: KeepSettings = Field(default_factory=KeepSettings)
    contract: ContractSettings = Field(default_factory=ContractSettings)
    observe: ObserveSettings = Field(default_factory=ObserveSettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    spark: SessionSettings = Field(default_factory=SessionSettings)

    @model_validator(mode="before")
    @classmethod
    def _lake_in_store(cls, value: Any) -> Any:
        """`lake: s3://...` is short for `store: s3://...` with the usual folder for the copy."""
        if not isinstance(value, dict) or not is_uri(str(value.get("lake", ""))):
            return value
        try:
            uri = checked_uri(str(value["lake"]))
        except ValueError as error:
            raise ValueError(f"lake: {error}") from None
        return value | {"lake": usual_folder(uri), "store": uri}

    @model_validator(mode="before")
    @classmethod
    def _default_relations(cls, value: Any) -> Any:
        """The file's relations are merged into the defaults; `name: null` removes one."""
        if not isinstance(value, dict):
            return value
        given = value.get("relations") or {}
        if not isinstance(given, dict):
            return value
        has = [has_column(value.get("source"), key) for key in ("rating", "timestamp")]
        return value | {"relations": with_defaults(given, *has)}

    @field_validator("store")
    @classmethod
    def _store_is_known(cls, value: str | None) -> str | None:
        if value is not None and not is_uri(value):
            raise ValueError("expected a URI: s3://, gs:// or abfss://")
        return None if value is None else checked_uri(value)

    @field_validator("relations")
    @classmethod
    def _names(cls, value: dict[str, RelationSettings]) -> dict[str, RelationSettings]:
        distinct_names(value)
        return value

    @field_validator("run_date", mode="before")
    @classmethod
    def _date(cls, value: Any, info: ValidationInfo) -> str:
        """The date, decided once: the clock may pass midnight while the night runs."""
        if value == "today":
            return datetime.datetime.now(datetime.UTC).date().isoformat()
        if value == "latest" and "lake" in info.data:  # else lake is wrong, and its error comes first
            open_lake(info.data["lake"], info.data.get("store"))
            dates = run_dates(info.data["lake"])
            if not dates:
                raise ValueError(f"expected a night in {info.data['lake']}/runs; there is none")
            return dates[-1]
        try:
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError:
            a_range = "; a range of dates is an argument of kgspark nightly" if ".." in str(value) else ""
            raise ValueError(f"expected a date as YYYY-MM-DD, today or latest{a_range}") from None

    @model_validator(mode="after")
    def _target_is_a_relation(self) -> "NightSettings":
        target = self.relations.get(self.train.target)
        if target is None:
            raise ValueError(f"train.target must be one of the relations {', '.join(self.relations)}")
        if (target.table, target.head.kind, target.tail.kind) != ("ratings", "user", "movie"):
            raise ValueError("train.target must name a relation from user to movie on table ratings")
        return self

    @model_validator(mode="after")
    def _times_are_there(self) -> "NightSettings":
        """Without times, what is configured must not need them; what is `auto` is off."""
        if not self.source.has_times:
            check_needs_no_times(self)
        return self

    @model_validator(mode="after")
    def _space_fits(self) -> "NightSettings":
        """The default space is not checked, because a night may lack relations in it."""
        if "space" in self.tune.model_fields_set:
            check_space(self.tune.space, self.train, self.relations)
        return self

    @model_validator(mode="after")
    def _lists_are_tables(self) -> "NightSettings":
        for key, name in self.candidates.lists.items():
            if name not in self.source.tables:
                known = ", ".join(self.source.tables) or "none is declared"
                raise ValueError(f"candidates.{key}: no table {name!r} in source.tables ({known})")
        return self

    @model_validator(mode="after")
    def _reasons_are_known(self) -> "NightSettings":
        """The cases of texts, and the relations of words."""
        named = {"reason_text": CASES, "reason_words": ()}
        for key, known in named.items():
            for name in getattr(self.recommend, key):
                if name not in (*known, *self.relations):
                    expected = ", ".join((*known, *self.relations))
                    raise ValueError(f"recommend.{key}.{name}: expected one of {expected}")
        return self

    @model_validator(mode="after")
    def _share_has_a_rank(self) -> "NightSettings":
        share, k = self.rules.explore.share, self.recommend.k
        if 0 < share * k < 1:
            raise ValueError(f"rules.explore.share: expected a share of at least one of the {k} ranks, found {share}")
        return self

    @model_validator(mode="after")
    def _catalog_is_reachable(self) -> "NightSettings":
        """The catalogue in the lake is a file, which is written in place, as no object store can."""
        if self.store is not None and "iceberg" in self.publish.targets and not self.publish.iceberg.catalog:
            raise ValueError("publish.iceberg.catalog: expected a catalogue, because the lake is on an object store")
        return self

    @property
    def target(self) -> RelationSettings:
        """The relation to hold out, to train for and to recommend from."""
        return self.relations[self.train.target]

    def changed(self, changes: Changes) -> "NightSettings":
        """The settings with changed values of keys of `train` and `relations.NAME.weight`, checked like a file."""
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
