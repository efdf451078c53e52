"""Settings of the publish stage."""

from typing import Annotated

from pydantic import Field

from kgspark.config import OneOf, Settings
from kgspark.warehouse.targets import TARGETS


class PublishSettings(Settings):
    """The targets of audited tables, and the check before them."""

    targets: tuple[Annotated[str, OneOf(TARGETS)], ...] = Field(
        ("files",), min_length=1, description="files: <lake>/warehouse/<table>/ds=<run_date>/*.parquet"
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
