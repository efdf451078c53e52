"""Settings of the Spark session."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, field_validator

from kgspark.config import Settings


class SessionSettings(Settings):
    """The Spark session. Under spark-submit, the master and the settings given there win."""

    master: str = Field("local[*]", description="Spark's master: local[N], spark://host:port, yarn, k8s://...")
    driver_memory: str = Field("2g", pattern=r"^[1-9][0-9]*[kmgt]$", description="heap of the driver's JVM")
    conf: dict[str, Any] = Field(default_factory=dict, description="any further Spark settings, by their own names")

    @field_validator("conf", mode="before")
    @classmethod
    def _dotted_names(cls, value: Any) -> Any:
        """`spark.conf.spark.sql.shuffle.partitions=4` on the command line arrives as nested mappings."""
        return dict(_leaves(value, ())) if isinstance(value, dict) else value


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, below in value.items():
        if isinstance(below, Mapping):
            yield from _leaves(below, (*path, str(key)))
        else:
            yield ".".join((*path, str(key))), below
