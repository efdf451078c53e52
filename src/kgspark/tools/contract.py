"""contract: the published tables as an ODCS data contract and as dbt sources. Starts no Spark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kgspark.errors import ResourceError
from kgspark.files import write_atomically
from kgspark.night.contract import published_tables
from kgspark.night.night import Night
from kgspark.report.contract.dbt import dbt_sources
from kgspark.report.contract.odcs import odcs_contract
from kgspark.warehouse.files import warehouse_of

_HEAD = "# Written by `kgspark contract`, which replaces this file: change the configuration instead.\n"


def run(night: Night) -> dict[str, Any]:
    """Writes both files and prints their places; returns their contents, which `--json` prints.

    Raises ResourceError if a file cannot be written.
    """
    settings, tables = night.settings.contract, published_tables(night)
    contract = odcs_contract(settings, warehouse_of(night.run.lake).address, tables, night.settings.keep.published)
    written = {"odcs": contract, "dbt": dbt_sources(settings, tables)}
    for name, content in zip((f"{settings.name}.odcs.yaml", "sources.yml"), written.values(), strict=True):
        _write(settings.out / name, content)
        night.say(f"{settings.out / name}")
    return written


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _HEAD + text)
    except OSError as error:
        raise ResourceError(
            f"{path}: {error.strerror or error}; set contract.out to a folder that can be written"
        ) from error
