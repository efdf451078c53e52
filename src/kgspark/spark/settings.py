"""Settings of the Spark session."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from kgspark.config import OtherSettings, Settings, from_environment


class SessionSettings(Settings):
    """The Spark session. Under spark-submit, the master and the settings given there win."""

    master: str = Field(
        "local[*]",
        description="Spark's master: local[N], spark://host:port, yarn, k8s://..., "
        "or sc://host:port of a Spark Connect server",
    )
    driver_memory: str = Field("2g", pattern=r"^[1-9][0-9]*[kmgt]$", description="heap of the driver's JVM")
    executor_wait: float | None = Field(
        30, gt=0, description="minutes that a job waits while a cluster gives no executor; null waits for ever"
    )
    store_access: Literal["auto", "copy", "connector"] = Field(
        "auto",
        description="how Spark works on a lake in an object store: copy, on this machine's copy; connector, on the "
        "objects themselves, by its connector (s3a, gs, abfss), which a cluster needs; auto is copy if Spark is local",
    )
    conf: OtherSettings = Field(
        default_factory=dict,
        description="any further Spark settings, by their own names; ${ENV:NAME} in a value is an environment variable",
    )

    @field_validator("master")
    @classmethod
    def _no_token(cls, value: str) -> str:
        if re.search(r"[;/]token=", value):
            raise ValueError("a token is a secret; leave it out here, and put the whole address into SPARK_REMOTE")
        return value

    def resolved_conf(self) -> dict[str, Any]:
        """`conf` with the values of environment variables; ConfigError for a variable that is not set.

        The settings themselves keep the names, so that secrets appear in nothing that is written from settings.
        """
        return from_environment("spark.conf", self.conf)
