"""Texts of a configuration that Spark parses as SQL expressions, marked by their type so that each one is checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from kgspark.config.document import KeyPath
from kgspark.config.settings import Settings


@dataclass(frozen=True)
class SqlText:
    """Marks the type of such a text.

    queries  True if it may have subqueries on tables
    """

    queries: bool = False


# An expression over the columns of one table, and one that may also query other tables.
Sql = Annotated[str, SqlText()]
SqlQuery = Annotated[str, SqlText(queries=True)]


def sql_texts(settings: Settings, above: KeyPath = ()) -> Iterator[tuple[str, str, SqlText]]:
    """Every SQL text of the settings and of the sections in them: dotted key, text and mark."""
    for name, field in type(settings).model_fields.items():
        value, path = getattr(settings, name), (*above, name)
        mark = next(_marks(field.annotation, field.metadata), None)
        if mark is not None and value is not None:
            yield ".".join(path), value, mark
        sections = value.items() if isinstance(value, Mapping) else [(None, value)]
        for key, section in sections:
            if isinstance(section, Settings):
                yield from sql_texts(section, path if key is None else (*path, key))


def _marks(annotation: Any, metadata: Any = ()) -> Iterator[SqlText]:
    """The marks of a type, and of the alternatives of a union: those of `Sql | None`."""
    yield from (item for item in metadata if isinstance(item, SqlText))
    for part in get_args(annotation):
        if isinstance(part, SqlText):
            yield part
        else:
            yield from _marks(part)
