"""Walks settings classes: sections with their keys, each key with its type, default and meaning."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from kgspark.config import OneOf, Settings, is_section
from kgspark.config.settings import alternatives, bare_type
from kgspark.kge import recipes
from kgspark.night.settings import NightSettings

_WORDS = {int: "integer", float: "number", bool: "true or false", str: "text", Any: "value"}


@dataclass(frozen=True)
class Key:
    """One setting.

    path      its dotted key, in parts
    type      its type in words: `integer ≥ 1`
    default   its default, as plain YAML values; `...` for a key that must be given
    example   the value that conf/nightly.yaml shows; the default, unless the key must be given
    meaning   its description
    entries   the section of each entry, if the key is a mapping of names to sections
    """

    path: tuple[str, ...]
    type: str
    default: Any
    example: Any
    meaning: str
    entries: "Section | None" = None

    @property
    def dotted(self) -> str:
        """The key in the form of the command line."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Section:
    """A settings class: its docstring, and its keys and sections in their order."""

    path: tuple[str, ...]
    meaning: str
    parts: tuple["Key | Section", ...]

    @property
    def dotted(self) -> str:
        """The section in the form of the command line; empty for the outermost."""
        return ".".join(self.path)

    def all_keys(self) -> Iterator[Key]:
        """All keys, also those of nested sections."""
        for part in self.parts:
            if isinstance(part, Section):
                yield from part.all_keys()
            else:
                yield part

    def sections(self) -> Iterator["Section"]:
        """The section and all nested ones."""
        yield self
        for part in self.parts:
            if isinstance(part, Section):
                yield from part.sections()


@cache
def night() -> Section:
    """All settings of a configuration file."""
    return section(NightSettings)


def section(settings: type[Settings], given: Settings | None = None, path: tuple[str, ...] = ()) -> Section:
    """A settings class with its keys; defaults are those of `given`, or of the class."""
    parts = [_part(name, field, given, path) for name, field in settings.model_fields.items()]
    return Section(path, inspect.cleandoc(settings.__doc__ or ""), tuple(parts))


def _part(name: str, field: FieldInfo, given: Settings | None, above: tuple[str, ...]) -> Key | Section:
    path = (*above, name)
    default = _default(field) if given is None else getattr(given, name)
    if is_section(field.annotation):
        nested = cast(type[Settings], field.annotation)
        found = section(nested, default if isinstance(default, Settings) else None, path)
        return replace(found, meaning=field.description or found.meaning)
    plain = default if default is ... else _plain(field.annotation, default)
    example = field.examples[0] if field.examples else plain
    return Key(path, type_in_words(field), plain, example, _meaning(field, path), _entries(field.annotation, path))


def _default(field: FieldInfo) -> Any:
    return ... if field.is_required() else field.get_default(call_default_factory=True, validated_data={})


def _plain(annotation: Any, value: Any) -> Any:
    """The value in YAML's types: lists, mappings, texts and numbers."""
    return TypeAdapter(annotation).dump_python(value, mode="json")


def _meaning(field: FieldInfo, path: tuple[str, ...]) -> str:
    meaning = field.description or ""
    own = own_values(path)
    return f"{meaning} (transe:\N{NO-BREAK SPACE}{as_yaml(own['transe'])})" if own else meaning


def _entries(annotation: Any, path: tuple[str, ...]) -> Section | None:
    below = get_args(annotation)[-1] if get_origin(annotation) is dict else None
    return section(cast(type[Settings], below), path=(*path, "NAME")) if is_section(below) else None


def own_values(path: tuple[str, ...]) -> dict[str, Any]:
    """Each recipe's value of a `train` key that is null, by `transe`, `transe, norm 1`, ..., `bpr`; {} for others."""
    if path[:1] != ("train",):
        return {}
    values = {name: _at(recipe, path[1:]) for name, recipe in recipes.by_name().items()}
    return {} if None in values.values() else values


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return None if isinstance(values, Mapping) else values


def as_yaml(value: Any) -> str:
    """A value on one line of YAML."""
    if value is ...:
        return ""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True).split(
        "\n", 1
    )[0]


def type_in_words(field: FieldInfo) -> str:
    """A field's type in words: `integer ≥ 1`, `one of a, b or c`, `list of numbers`."""
    return _words(field.annotation, field.metadata)


def _words(annotation: Any, metadata: Any = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    table = next((item for item in metadata if isinstance(item, OneOf)), None)
    if table is not None:
        return alternatives(table.names)
    if origin is Annotated:
        nested = [item for field in arguments[1:] if isinstance(field, FieldInfo) for item in field.metadata]
        return _words(arguments[0], [*arguments[1:], *nested])
    if origin is Literal:
        return alternatives(map(str, arguments))
    if origin is dict:
        return "mapping of names to sections" if is_section(arguments[1]) else "mapping"
    if origin is tuple:
        return _list_words(arguments)
    if origin is not None and bare_type(annotation) is not annotation:
        return f"{_words(bare_type(annotation), metadata)}, or null"
    if origin in (Union, type(int | str)):
        others = [_words(other, metadata) for other in arguments if other is not type(None)]
        return alternatives(others) + (", or null" if type(None) in arguments else "")
    if is_section(annotation):
        return "section"
    return _WORDS.get(annotation, getattr(annotation, "__name__", "value").lower()) + _bounds(metadata)


def _list_words(arguments: tuple[Any, ...]) -> str:
    element = _words(arguments[0])
    return f"list, each: {element}" if arguments[-1] is ... else f"list of {len(arguments)}, each: {element}"


def _bounds(metadata: Any) -> str:
    bounds = []
    for item in metadata:
        match item:
            case Ge(ge=least):
                bounds.append(f"≥ {least}")
            case Gt(gt=least):
                bounds.append(f"> {least}")
            case Le(le=most):
                bounds.append(f"≤ {most}")
            case Lt(lt=most):
                bounds.append(f"< {most}")
    return f" {', '.join(bounds)}" if bounds else ""
