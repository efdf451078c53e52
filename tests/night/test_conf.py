"""Every shipped configuration can be loaded, and conf/nightly.yaml has the true defaults."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kgspark import config
from kgspark.night.settings import NightSettings
from nights import ROOT

CONFS = sorted((ROOT / "conf").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFS, ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert config.load(NightSettings, path).train.target == "liked"


def keys(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf of nested mappings."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from keys(below, (*path, key))
    else:
        yield path, value


def test_nightly_yaml_holds_every_key_with_its_default() -> None:
    text = (ROOT / "conf" / "nightly.yaml").read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    written["source"]["path"] = written["run_date"] = "2026-01-02"
    # Default paths are in the working folder, which no file can say, so they are comments.
    written["lake"], written["contract"]["out"] = "lake", "contract"
    assert {"# lake: lake", "  # out: contract"} <= {line[:30].rstrip() for line in text.splitlines()}
    bare = NightSettings.model_validate({"source": {"path": "2026-01-02"}, "run_date": "2026-01-02"})
    assert NightSettings.model_validate(written) == bare
    declared = {path for path, _ in keys(bare.model_dump(mode="json", exclude={"relations"}))}
    assert declared == {path for path, _ in keys({k: v for k, v in written.items() if k != "relations"})}
    assert set(written["relations"]) == set(bare.relations)


def test_every_job_is_its_stage() -> None:
    for job in (ROOT / "jobs").glob("*.py"):
        text = job.read_text(encoding="utf-8")
        assert f'"{job.stem.replace("_", "-")}"' in text
        assert len(text.splitlines()) <= 40
