"""Names that people choose in a configuration: of their tables, relations and segments."""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator

ValueT = TypeVar("ValueT")


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError("expected a name of letters, digits, _ and -")
    return name


def _sql_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("expected a name that SQL can use: letters a to z, digits and _, without a digit in front")
    return name


# The keys of a mapping. None of them can leave a folder: they have no slash and no point.
PlainName = Annotated[str, AfterValidator(_plain_name)]
SqlName = Annotated[str, AfterValidator(_sql_name)]


def distinct_names(named: Mapping[str, ValueT], taken: Collection[str] = ()) -> None:
    """ValueError if two names differ by their case alone, or if a name is one of `taken` in any case.

    Neither SQL nor a reader of the output would tell them apart.
    """
    others = {name.casefold(): name for name in taken}
    for name in named:
        if name.casefold() in others:
            other = others[name.casefold()]
            if other in taken:
                raise ValueError(f"{name!r} is the name of one of kgspark's own tables; choose another one")
            raise ValueError(f"the names {other!r} and {name!r} differ by their case alone; choose another one")
        others[name.casefold()] = name
