"""The site of the pages: it builds without a warning, and asks no other host for anything."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nights import ROOT

MKDOCS = Path(sys.executable).with_name("mkdocs")


def _build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [MKDOCS, "build", "--config-file", config, "--site-dir", out]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = _build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_there_and_none_loads_from_another_host(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    sources = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    made = {name.replace("README.md", "index.md").replace(".md", ".html") for name in sources}
    assert made | {"start.html", "changelog.html"} <= pages.keys()
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?(https?:[^\"' >]*)|<link[^>]*href=[\"']?(https?:[^\"' >]*)"
    )
    assert [(name, found) for name, page in pages.items() for found in loaded.findall(page)] == []


def test_links_out_of_docs_lead_to_pages_of_the_site(site: Path) -> None:
    assert '<a href="start.html">README</a>' in (site / "index.html").read_text(encoding="utf-8")
    assert 'href="measurements/accuracy.html#what-comes-next"' in (site / "start.html").read_text(encoding="utf-8")


def test_a_wrong_link_stops_the_build(tmp_path: Path) -> None:
    for name in ("docs", "README.md", "CHANGELOG.md", "mkdocs.yml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)
    page = tmp_path / "docs" / "glossary.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[nothing](nowhere.md)\n", encoding="utf-8")
    done = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr + done.stdout
