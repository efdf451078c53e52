"""The result of a check, and the judgement of its value."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from kgspark.names import OURS, Names
from kgspark.spark.ranking.audit.checks import Check, Severity
from kgspark.spark.ranking.audit.settings import CheckSettings


@dataclass(frozen=True)
class Finding:
    """One line of the audit: a check of one table.

    rule    what holds in a good table
    column  the column that it looks at, by its name in the files; empty if there are several
    value   what was measured; None if there was nothing to measure, as churn in the first night
    unit    what the value counts, as words after it
    limit   the bound is the largest ("at most") or the smallest ("at least") good value
    example one place where it breaks, or the counts behind the value
    """

    check: str
    table: str
    column: str
    rule: str
    value: float | None
    unit: str
    limit: Literal["at most", "at least"]
    bound: float
    severity: Severity
    status: Literal["passed", "failed", "not measured"]
    example: str = ""

    @property
    def blocks(self) -> bool:
        """True if nothing may be published."""
        return self.status == "failed" and self.severity == "block"

    @property
    def warns(self) -> bool:
        """True if the stage prints a line."""
        return self.status == "failed" and self.severity == "warn"

    def __str__(self) -> str:
        value = "nothing" if self.value is None else f"{self.value:,.4g}"
        example = f" ({self.example})" if self.example else ""
        return f"{self.rule!r} ({self.check}): {value} {self.unit}, {self.limit} {self.bound:g} allowed{example}"


def judge(
    check: Check, given: CheckSettings, table: str, value: float | None, example: str = "", names: Names = OURS
) -> Finding:
    """The finding for a measured value, in the night's names; NaN counts as failed."""
    if value is None:
        status: Literal["passed", "failed", "not measured"] = "not measured"
    elif check.limit == "at most":
        status = "passed" if value <= given.bound else "failed"
    else:
        status = "passed" if value >= given.bound else "failed"
    return Finding(
        check=check.name,
        table=table,
        column=names.column(check.column),
        rule=names.fill(check.rule),
        value=value,
        unit=names.fill(check.unit),
        limit=check.limit,
        bound=given.bound,
        severity=given.severity,
        status=status,
        example="" if value is None else example,
    )


def json_lines(findings: Sequence[Finding]) -> str:
    """The findings as JSON lines, one object per finding; a value that is no number becomes null."""
    rows = [asdict(finding) for finding in findings]
    for row in rows:
        if row["value"] is not None and not math.isfinite(row["value"]):
            row["value"] = None
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
