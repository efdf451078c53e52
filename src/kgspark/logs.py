"""The stage that is running, for the lines of a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STAGE: ContextVar[str] = ContextVar("stage", default="")


@contextmanager
def lines_of(stage: str) -> Iterator[None]:
    """Within it, JSON lines name the stage."""
    before = STAGE.set(stage)
    try:
        yield
    finally:
        STAGE.reset(before)
