"""`kgspark doctor [CONF]`: what this machine, and a configuration, lack for a night, and how to mend it. No JVM."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from kgspark.errors import UnfitError
from kgspark.tools.health.checks import Check
from kgspark.tools.health.configuration import configuration_checks
from kgspark.tools.health.machine import machine_checks


def run(conf: str, overrides: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Prints a line for each check; returns them for `--json`. UnfitError if something is wrong."""
    checks = []
    for check in machine_checks():
        checks.append(_told(check, say))
    if conf:
        for check in configuration_checks(conf, overrides):
            checks.append(_told(check, say))
    wrong = [check for check in checks if check.state == "wrong"]
    answer = {"fit": not wrong, "checks": [asdict(check) for check in checks]}
    if wrong:
        raise UnfitError(
            f"{len(wrong)} of {len(checks)} checks found something wrong; first: {_line(wrong[0])}", answer
        )
    say(f"\nNothing is wrong. {'A night can run' if conf else 'Give a configuration to check what it needs'}.")
    return answer


def _told(check: Check, say: Callable[[str], None]) -> Check:
    say(f"{check.state:<6}{check.name:<16} {check.found}{f'; {check.remedy}' if check.remedy else ''}")
    return check


def _line(check: Check) -> str:
    return f"{check.name}: {check.found}{f'; {check.remedy}' if check.remedy else ''}"
