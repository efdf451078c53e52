"""Settings of the publish stage, and of what is kept after it."""

from typing import Annotated

from pydantic import Field

from kgspark.config import OneOf, Settings
from kgspark.warehouse.targets import TARGETS


class PublishSettings(Settings):
    """The targets of audited tables, and the check before them."""

    targets: tuple[Annotated[str, OneOf(TARGETS)], ...] = Field(
        ("files",), min_length=1, description="files: <lake>/warehouse, by folder or by the pointer _latest.json"
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


class KeepSettings(Settings):
    """What is kept of earlier nights; the rest is removed after each publication.

    Tonight's night, and the night and version that `_latest.json` names, are always kept.
    """

    nights: int | None = Field(
        None, ge=1, description="the newest nights in <lake>/runs, by date; null keeps all. Their tables stay published"
    )
    published: int | None = Field(
        None, ge=1, description="the newest dates in the folders <lake>/warehouse/<table>; null keeps all"
    )
    versions: int | None = Field(
        14,
        ge=0,
        description="the last replaced versions in <lake>/warehouse/_versions, for readers that follow _latest.json; "
        "null keeps all",
    )
