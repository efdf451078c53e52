"""Errors that a person can act on: one line that says what, where, what was expected and what to do."""


class KgsparkError(Exception):
    """Base of every error whose message is meant for the person who runs the night."""


class ConfigError(KgsparkError):
    """A configuration file or a command-line override is wrong; the message names file, line and dotted key."""


class InputError(KgsparkError):
    """A source file or table is missing, empty, unreadable or not what its format says."""


class StageError(KgsparkError):
    """A stage cannot run: an input table is missing, or the machine cannot hold the work."""


class AuditError(KgsparkError):
    """A table breaks one of its invariants, so nothing was published."""
