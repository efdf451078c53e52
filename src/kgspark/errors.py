"""Errors for the person who runs the night: one line with the problem, its place, the expectation, and the remedy.

The exit codes tell a scheduler what to do. Those from 64 on are of sysexits.h.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class KgsparkError(Exception):
    """Base of all errors with such a message. `code` is the exit code of a command that ends with it."""

    code: ClassVar[int] = 1


class ConfigError(KgsparkError):
    """A configuration file or a command-line override is wrong; the message names file, line and dotted key."""

    code = 2  # as for a wrong command line


class InputError(KgsparkError):
    """A source file or table is missing, empty, unreadable, or in the wrong format."""

    code = 65  # EX_DATAERR


class StageError(KgsparkError):
    """A stage cannot run on the tables that are there: for example, an input table is missing."""

    code = 66  # EX_NOINPUT


class ResourceError(StageError):
    """The machine or a service lacks something: memory, disk, rights, Java, a package, an answer."""

    code = 69  # EX_UNAVAILABLE


class UnfitError(KgsparkError):
    """Checks that were asked for have found something wrong. `answer` is what `--json` prints besides the error."""

    def __init__(self, message: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.answer = answer


class AuditError(KgsparkError):
    """The audit or the gate refuses the tables, so nothing was published."""

    code = 3


class BusyError(StageError):
    """Another process works on the same night. The same command succeeds later."""

    code = 75  # EX_TEMPFAIL
