"""Settings of the audit."""

import difflib
from typing import Annotated, Any

from pydantic import Field, field_validator

from kgspark.config import OneOf, PlainName, Settings, Sql, merged
from kgspark.spark.ranking.audit import checks
from kgspark.spark.ranking.audit.checks import Severity
from kgspark.tables import RANKED, RECOMMENDATIONS


class CheckSettings(Settings):
    """What a check allows, and what it does otherwise."""

    severity: Severity = Field(description="block: publish nothing; warn: print a line; off: do not check")
    bound: float = Field(ge=0, description="largest good value; for coverage the smallest")

    @field_validator("severity", mode="before")
    @classmethod
    def _off_is_text(cls, value: Any) -> Any:
        """YAML reads `off` without quotes as false."""
        return "off" if value is False else value


class OwnCheckSettings(CheckSettings):
    """A check of your own: the share of the rows of a ranked table that a condition is true for."""

    table: Annotated[str, OneOf(RANKED)] = Field(RECOMMENDATIONS, description="the ranked table")
    where: Sql = Field(description="SQL condition over the table's columns, true for a bad row")
    severity: Severity = Field("block", description="block: publish nothing; warn: print a line; off: do not check")
    bound: float = Field(0.0, ge=0, le=1, description="largest good share of bad rows")


def _defaults() -> dict[str, CheckSettings]:
    return {check.name: CheckSettings(severity=check.severity, bound=check.bound) for check in checks.CHECKS}


class AuditSettings(Settings):
    """The checks of the tables before they are published; docs/ranking.md explains them."""

    users: int = Field(
        200,
        ge=1,
        description="model_scores, top_k, vector_scores: largest number of users whose scores are computed again",
    )
    seed: int = Field(42, ge=0, description="model_scores, top_k, vector_scores: seed of the draw of these users")
    checks: dict[str, CheckSettings] = Field(
        default_factory=_defaults,
        description="check: {severity: block, warn or off, bound: number}; a file's checks are merged into these",
    )
    own: dict[PlainName, OwnCheckSettings] = Field(
        default_factory=dict,
        description="name: {table, where: SQL condition, true for a bad row, bound: share of bad rows, severity}",
    )

    @field_validator("checks", mode="before")
    @classmethod
    def _laid_over_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = _defaults()
        for name in value:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
                raise ValueError(f"no check {name!r}; {hint}")
        return merged({name: check.model_dump() for name, check in known.items()}, value)

    @field_validator("own")
    @classmethod
    def _names_are_free(cls, value: dict[str, OwnCheckSettings]) -> dict[str, OwnCheckSettings]:
        for name in value:
            if name in _defaults():
                raise ValueError(f"{name!r} is a check of audit.checks; choose another name")
        return value
