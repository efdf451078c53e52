"""Settings of the publish stage, and of what is kept after it."""

from typing import Annotated

from pydantic import Field, field_validator

from kgspark.config import OneOf, Settings
from kgspark.warehouse.delta import DeltaSettings
from kgspark.warehouse.hive import HiveSettings
from kgspark.warehouse.iceberg import IcebergSettings
from kgspark.warehouse.postgres import PostgresSettings
from kgspark.warehouse.targets import TARGETS


class PublishSettings(Settings):
    """The targets of audited tables, and the check before them."""

    targets: tuple[Annotated[str, OneOf(TARGETS)], ...] = Field(
        ("files",),
        min_length=1,
        description="files: <lake>/warehouse, by folder or by the pointer _latest.json; delta and iceberg: tables "
        "of these formats; hive: partitions in Spark's catalogue, after files; postgres: tables of PostgreSQL",
    )
    beat_popularity: bool = Field(
        True,
        description="refuse to publish a model whose NDCG on held-out likes is below popularity's, or was not measured",
    )
    beat_champion: bool = Field(
        True, description="refuse to publish a model that is worse than the last published one, on the same likes"
    )
    champion_tolerance: float = Field(
        0.05, ge=0, lt=1, description="a fraction of the champion's NDCG; a smaller loss does not stop publication"
    )
    delta: DeltaSettings = Field(default_factory=DeltaSettings)
    hive: HiveSettings = Field(default_factory=HiveSettings)
    iceberg: IcebergSettings = Field(default_factory=IcebergSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)

    @field_validator("targets")
    @classmethod
    def _in_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("expected each target once")
        if "hive" in value and "files" not in value[: value.index("hive")]:
            raise ValueError("expected files before hive, whose partitions are the folders of files")
        return value


class KeepSettings(Settings):
    """What is kept of earlier nights; the rest is removed after each publication.

    Tonight's night, and the night and version that `_latest.json` names, are always kept.
    """

    nights: int | None = Field(
        None, ge=1, description="the newest nights in <lake>/runs, by date; null keeps all. Their tables stay published"
    )
    published: int | None = Field(None, ge=1, description="the newest dates in each target; null keeps all")
    versions: int | None = Field(
        14,
        ge=0,
        description="the last replaced versions in <lake>/warehouse/_versions, for readers that follow _latest.json; "
        "null keeps all",
    )
