"""Errors for the person who runs the night: one line with what is wrong, where, what was expected, and what to do."""


class KgsparkError(Exception):
    """Base of all errors with such a message."""


class ConfigError(KgsparkError):
    """A configuration file or a command-line override is wrong; the message names file, line and dotted key."""


class InputError(KgsparkError):
    """A source file or table is missing, empty, unreadable, or does not have the format that it should."""


class StageError(KgsparkError):
    """A stage cannot run: for example, an input table is missing, or there is too little memory."""


class AuditError(KgsparkError):
    """A table breaks an invariant, so nothing was published."""
