"""One check and its result."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from kgspark.errors import KgsparkError


@dataclass(frozen=True)
class Check:
    """What was found of one thing.

    state   ok; wrong, if a night cannot run so; note, if only some commands or settings need more
    remedy  how to mend what is wrong; empty if the finding says it
    """

    name: str
    state: Literal["ok", "wrong", "note"]
    found: str
    remedy: str = ""


def checked(name: str, look: Callable[[], Check | Iterable[Check]]) -> Iterator[Check]:
    """The result of `look`; an error of kgspark is what is wrong."""
    try:
        found = look()
        yield from [found] if isinstance(found, Check) else found
    except KgsparkError as error:
        yield Check(name, "wrong", str(error))
