"""Settings of the publish stage."""

from typing import Annotated

from pydantic import AfterValidator, Field

from kgspark.config import Settings
from kgspark.warehouse.targets import TARGETS


def _known(name: str) -> str:
    if name not in TARGETS:
        raise ValueError(f"expected one of {', '.join(TARGETS)}")
    return name


class PublishSettings(Settings):
    """The targets of audited tables, and the gate before them."""

    targets: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(
        ("files",), min_length=1, description="files: <lake>/warehouse/<table>/ds=<run_date>/*.parquet"
    )
    beat_popularity: bool = Field(
        True, description="refuse to publish a model whose NDCG on held-out likes is below popularity's"
    )
