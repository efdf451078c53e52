"""Settings of other programs inside a configuration: by their own names, with values from the environment."""

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from kgspark.errors import ConfigError
from kgspark.redaction import hide, is_secret, redact

_VARIABLE = re.compile(r"\$\{ENV:(\w+)\}")


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


# A mapping of names, which may have points, to values. ${ENV:NAME} in a value is an environment variable.
OtherSettings = Annotated[dict[str, Any], BeforeValidator(dotted_names)]
