"""The name of the running stage, for the lines of a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STAGE: ContextVar[str] = ContextVar("stage", default="")


@contextmanager
def lines_of(stage: str) -> Iterator[None]:
    """A context in which JSON lines have this stage's name."""
    before = STAGE.set(stage)
    try:
        yield
    finally:
        STAGE.reset(before)
