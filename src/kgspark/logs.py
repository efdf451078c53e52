"""The stage that is running, for the lines of a log."""

from contextvars import ContextVar

STAGE: ContextVar[str] = ContextVar("stage", default="")
