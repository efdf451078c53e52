"""The exit code and the line of an error that ends a command."""

import signal

from kgspark.causes import cause_of, is_of_machine
from kgspark.errors import KgsparkError, ResourceError

_WHOLE = "no table is half written, and the next call continues after the last complete stage"


class TerminatedError(BaseException):
    """SIGTERM has arrived. Like KeyboardInterrupt, it passes by every `except Exception`."""


def exit_of(error: BaseException) -> tuple[int, str]:
    """Exit code, and the line for the user; docs/operations.md lists the codes."""
    if isinstance(error, KgsparkError):
        return error.code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, f"interrupted; {_WHOLE}"
    if isinstance(error, TerminatedError):
        return 128 + signal.SIGTERM, f"ended by SIGTERM; {_WHOLE}"
    return ResourceError.code if is_of_machine(error) else KgsparkError.code, cause_of(error)
