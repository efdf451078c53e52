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
        True, description="refuse to publish a model whose NDCG on held-out likes is below popularity's"
    )
