"""The pages are consistent: length, links, contents, and names of settings."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kgspark.config import Settings
from kgspark.experiments.generate import GenerateSettings
from kgspark.night.settings import NightSettings
from nights import ROOT
from pages import PAGES, README, anchors, code_spans, languages, links

CONTENTS = ROOT / "docs" / "README.md"
KEY = re.compile(r"[a-z_]+(\.[a-z_]+)+")
# The user chooses the names in these sections.
OWN_NAMES = ("source.tables.", "relations.", "spark.conf.", "candidates.segments.", "tune.space.", "audit.own.")
# Dotted names that look like settings but are not: names of files, and settings of Spark.
NO_SETTINGS = re.compile(r".*\.(yaml|csv|jsonl?|dat|npy|py|html)|spark\.(task|executor|pyspark|read)\..*")


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(("page", "target"), links(), ids=str)
def test_every_relative_link_leads_somewhere(page: Path, target: str) -> None:
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    assert path.exists()
    if anchor:
        assert anchor in anchors(path)


def test_the_contents_list_every_page() -> None:
    linked = {(page.parent / target.partition("#")[0]).resolve() for page, target in links() if page == CONTENTS}
    assert set(PAGES) - {CONTENTS} <= linked


def test_every_code_block_names_its_language() -> None:
    assert languages() <= {"sh", "yaml", "python", "sql", "crontab", "text"}


def keys(section: Any, above: str = "") -> Iterator[str]:
    """The dotted keys of a class of settings, including sections."""
    for name, field in section.model_fields.items():
        yield above + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from keys(field.annotation, f"{above}{name}.")


SETTINGS = {*keys(NightSettings), *keys(GenerateSettings)}
SECTIONS = {key for key in SETTINGS if any(other.startswith(f"{key}.") for other in SETTINGS)}


# The page of the settings themselves is generated from them.
@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "configuration.md"], ids=str)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    for span in code_spans(page):
        # `train.dim=64` and `train.negatives: auto` name a key too.
        name = re.split(r"[=:]", span.split()[0])[0]
        if KEY.fullmatch(name) and name.split(".")[0] in SECTIONS and not NO_SETTINGS.fullmatch(name):
            assert name in SETTINGS or name.startswith(OWN_NAMES), f"{page.name}: no setting {name}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_source_file_that_a_page_names_exists(page: Path) -> None:
    for span in code_spans(page):
        if re.fullmatch(r"[\w/]+\.py", span):
            assert (ROOT / span).exists() or (ROOT / "src" / "kgspark" / span).exists(), f"{page.name}: no {span}"


def test_every_table_of_additions_exists() -> None:
    # As in: `TARGETS` (`warehouse/targets.py`)
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([A-Z]+)` \(`([\w/]+)\.py`\)", text)
    assert len(named) >= 9
    for table, module in named:
        assert getattr(import_module(f"kgspark.{module.replace('/', '.')}"), table), table
