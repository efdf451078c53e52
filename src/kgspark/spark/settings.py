"""Settings of the Spark session."""

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import Field, field_validator

from kgspark.config import Settings
from kgspark.errors import ConfigError
from kgspark.redaction import hide, is_secret, redact

_VARIABLE = re.compile(r"\$\{ENV:(\w+)\}")


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
    conf: dict[str, Any] = Field(
        default_factory=dict,
        description="any further Spark settings, by their own names; ${ENV:NAME} in a value is an environment variable",
    )

    @field_validator("master")
    @classmethod
    def _no_token(cls, value: str) -> str:
        if re.search(r"[;/]token=", value):
            raise ValueError("a token is a secret; leave it out here, and put the whole address into SPARK_REMOTE")
        return value

    @field_validator("conf", mode="before")
    @classmethod
    def _dotted_names(cls, value: Any) -> Any:
        return dotted_names(value)

    def resolved_conf(self) -> dict[str, Any]:
        """`conf` with the values of environment variables; ConfigError for a variable that is not set.

        The settings themselves keep the names, so that secrets appear in nothing that is written from settings.
        """
        return from_environment("spark.conf", self.conf)


def dotted_names(value: Any) -> Any:
    """`spark.conf.spark.sql.shuffle.partitions=4` on the command line arrives as nested mappings."""
    return dict(_leaves(value, ())) if isinstance(value, dict) else value


def from_environment(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those of environment variables for ${ENV:NAME}. From now on, `redact` hides secrets among them.

    section  the dotted key of the values; ConfigError names it if a variable is not set
    """
    return {
        key: _VARIABLE.sub(partial(_variable, f"{section}.{key}"), value) if isinstance(value, str) else value
        for key, value in values.items()
    }


def refuse_written_secrets(values: Mapping[str, Any]) -> None:
    """ValueError for the first value that has a secret in it, instead of the name of an environment variable."""
    for key, value in values.items():
        written = _VARIABLE.sub("", str(value))
        if redact(written) != written or (is_secret(key) and written == str(value)):
            raise ValueError(
                f"{key}: a password may not stand in a configuration; write ${{ENV:NAME}}, and set the environment "
                "variable NAME"
            )


def _variable(key: str, name: re.Match[str]) -> str:
    value = os.environ.get(name[1])
    if value is None:
        raise ConfigError(f"{key}: the environment variable {name[1]} is not set")
    resolved = name.string.replace(name[0], value)
    if is_secret(key) or is_secret(name[1]) or redact(resolved) != resolved:
        hide(value)
    return value


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, below in value.items():
        if isinstance(below, Mapping):
            yield from _leaves(below, (*path, str(key)))
        else:
            yield ".".join((*path, str(key))), below
