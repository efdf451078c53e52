"""The packages of requirements.lock have no known vulnerability, where an index can be asked."""

import json
import subprocess
from collections.abc import Collection
from typing import Any

import pytest

from nights import ROOT

PIP_AUDIT = ROOT / ".venv-audit" / "bin" / "pip-audit"
# Vulnerabilities that do not concern us, by id, each with the reason.
IGNORED: dict[str, str] = {}


def _vulnerable(report: Any, ignored: Collection[str]) -> list[str]:
    """The vulnerabilities in a report of pip-audit that are not ignored, by package, version and id."""
    return [
        f"{package['name']} {package['version']}: {found['id']}"
        for package in report["dependencies"]
        for found in package.get("vulns", [])
        if not {found["id"], *found.get("aliases", [])} & set(ignored)
    ]


@pytest.mark.extended
def test_no_package_has_a_known_vulnerability() -> None:
    if not PIP_AUDIT.exists():
        pytest.skip("no index: make test-extended could not install pip-audit")
    lock = ["--requirement", str(ROOT / "requirements.lock"), "--no-deps", "--disable-pip"]
    done = subprocess.run(
        [PIP_AUDIT, *lock, "--format", "json"], capture_output=True, text=True, timeout=600, check=False
    )
    if not done.stdout:
        pytest.skip(f"no index: {done.stderr.strip().rpartition(chr(10))[2]}")
    report = json.loads(done.stdout)
    # An index without this service answers that it knows no package, and pip-audit then reports success.
    audited = [package for package in report["dependencies"] if "skip_reason" not in package]
    if 2 * len(audited) < len(report["dependencies"]):
        pytest.skip(f"no index: it knows {len(audited)} of {len(report['dependencies'])} packages")
    assert _vulnerable(report, IGNORED) == []


def test_a_vulnerability_counts_unless_it_is_ignored_by_any_of_its_names() -> None:
    found = {"id": "PYSEC-2023-1", "aliases": ["CVE-2023-1"], "fix_versions": []}
    report = {"dependencies": [{"name": "a", "version": "1", "vulns": [found]}, {"name": "b", "skip_reason": "x"}]}
    assert _vulnerable(report, []) == ["a 1: PYSEC-2023-1"]
    assert _vulnerable(report, ["CVE-2023-1"]) == []
