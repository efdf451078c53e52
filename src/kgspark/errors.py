"""Errors for the person who runs the night: one line with the problem, its place, the expectation, and the remedy."""

from typing import ClassVar


class KgsparkError(Exception):
    """Base of all errors with such a message. `code` is the exit code of a command that ends with it."""

    code: ClassVar[int] = 1


class ConfigError(KgsparkError):
    """A configuration file or a command-line override is wrong; the message names file, line and dotted key."""


class InputError(KgsparkError):
    """A source file or table is missing, empty, unreadable, or in the wrong format."""


class StageError(KgsparkError):
    """A stage cannot run: for example, an input table is missing, or there is too little memory."""


class AuditError(KgsparkError):
    """The audit or the gate refuses the tables, so nothing was published."""

    code = 3


class BusyError(StageError):
    """Another process works on the same night."""

    code = 4
