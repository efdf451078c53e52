"""Settings of the publish stage."""

from typing import Literal

from pydantic import Field

from kgspark.config import Settings


class PublishSettings(Settings):
    """The destinations of audited tables, and the conditions that stop them."""

    targets: tuple[Literal["files"], ...] = Field(
        ("files",), min_length=1, description="files: <lake>/warehouse/<table>/ds=<run_date>/*.parquet"
    )
    beat_popularity: bool = Field(
        True, description="refuse to publish a model whose NDCG on held-out likes is below popularity's"
    )
