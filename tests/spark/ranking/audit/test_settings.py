"""The audit's settings: defaults from the table of checks, laid under those of a file."""

import json

import pytest

from kgspark.config import from_overrides
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings
from kgspark.spark.ranking.audit.checks import CHECKS
from kgspark.spark.ranking.audit.findings import Finding, json_lines, judge
from kgspark.spark.ranking.audit.settings import AuditSettings, CheckSettings


def _audit(*overrides: str) -> AuditSettings:
    return from_overrides(NightSettings, ["source.path=x", *overrides]).audit


def test_every_check_has_its_default_and_one_value_may_be_changed() -> None:
    assert set(_audit().checks) == {check.name for check in CHECKS}
    changed = _audit("audit.checks.list_churn.bound=0.2", "audit.checks.coverage.severity=off")
    assert changed.checks["list_churn"] == CheckSettings(severity="warn", bound=0.2)
    assert changed.checks["coverage"] == CheckSettings(severity="off", bound=0.01)
    assert changed.checks["seen_item"] == CheckSettings(severity="block", bound=0)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("audit.checks.churn.bound=1", "audit.checks: no check 'churn'; did you mean"),
        ("audit.checks.ranks.bound=-1", "audit.checks.ranks.bound: expected a number ≥ 0"),
        ("audit.checks.ranks.severity=loud", "audit.checks.ranks.severity: expected 'block', 'warn' or 'off'"),
        ("audit.checks.ranks=warn", "audit.checks.ranks: expected a section of keys"),
        ("audit.own.x.bound=0", "audit.own.x.where: required"),
        ("audit.own.ranks.where=score > 1", "audit.own: 'ranks' is a check of audit.checks; choose another name"),
        (
            "audit.own.x={where: a, table: movies}",
            "audit.own.x.table: expected 'recommendations', 'audiences' or 'similar_items'",
        ),
        ("audit.own.x={where: a, bound: 2}", "audit.own.x.bound: expected a number ≤ 1"),
    ],
)
def test_a_wrong_setting_names_its_key(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        _audit(override)
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("list_churn", 0.6, "passed"),
        ("list_churn", 0.61, "failed"),
        ("list_churn", float("nan"), "failed"),
        ("list_churn", None, "not measured"),
        ("coverage", 0.01, "passed"),
        ("coverage", 0.009, "failed"),
        ("coverage", float("nan"), "failed"),
    ],
)
def test_a_value_is_judged_by_its_bound(name: str, value: float | None, status: str) -> None:
    check = next(check for check in CHECKS if check.name == name)
    found = judge(check, AuditSettings().checks[name], "recommendations", value)
    assert (found.status, found.warns, found.blocks) == (status, status == "failed", False)


def test_findings_are_one_json_object_per_line() -> None:
    check = next(check for check in CHECKS if check.name == "list_churn")
    found = [
        judge(check, AuditSettings().checks["list_churn"], "audiences", value, "é") for value in (0.5, float("nan"))
    ]
    lines = [json.loads(line) for line in json_lines(found).splitlines()]
    assert [line["value"] for line in lines] == [0.5, None]
    assert list(lines[0]) == list(Finding.__dataclass_fields__)
    assert str(found[0]) == (
        "'lists change slowly' (list_churn): 0.5 of a list is new since the last published night, in the mean, "
        "at most 0.6 allowed (é)"
    )
