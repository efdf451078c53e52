"""The base of all settings classes, and their fields."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from kgspark.config.document import KeyPath


class Settings(BaseModel):
    """Base of every section: immutable, and an unknown key is an error.

    former  keys of earlier versions, each with a sentence for the error
    """

    former: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _choice_in_any_spelling(cls, value: Any, field: ValidationInfo) -> Any:
        """A choice as its table spells it: `ComplEx`, `leave_one_out` and `BPR` are complex, leave-one-out, bpr."""
        found = cls.model_fields[str(field.field_name)]
        return _as_choice(value, found.annotation, found.metadata)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Rejects booleans as numbers: in Python `true` is 1, so `train.epochs: yes` would be accepted."""
        annotation = cls.model_fields[str(field.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {annotation, *get_args(annotation)}:
            raise ValueError("expected a number")
        return value


@dataclass(frozen=True, eq=False)  # a type must be hashable, and a table is not
class OneOf:
    """The type of a text that is a name in a table: `Annotated[str, OneOf(TABLE)]`.

    The table is read when a value is validated, so a new name is one line in the table.
    """

    names: Iterable[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.names)}

    def _check(self, value: str) -> str:
        if value not in self.names:
            raise ValueError(f"expected {alternatives(map(repr, self.names))}")
        return value


def _as_choice(value: Any, annotation: Any, metadata: Iterable[Any] = ()) -> Any:
    """The value, with each text that is a choice but for case, - and _ in place of it; others as they are."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return next((new for each in arguments if (new := _as_choice(value, each, metadata)) != value), value)
    if isinstance(value, list | tuple) and origin is tuple:
        return [_as_choice(each, arguments[0]) for each in value]
    if not isinstance(value, str):
        return value
    table = next((mark for mark in metadata if isinstance(mark, OneOf)), None)
    if table is not None:
        return _spelled(value, table.names)
    if origin is Annotated:
        return _as_choice(value, arguments[0], arguments[1:])
    if origin is Literal:
        return _spelled(value, arguments)
    return value


def _spelled(value: str, choices: Iterable[Any]) -> str:
    """The choice that is spelled like the value, or the value itself."""
    same = [each for each in choices if isinstance(each, str) and _folded(each) == _folded(value)]
    return value if value in same or len(same) != 1 else same[0]


def _folded(text: str) -> str:
    return text.casefold().replace("_", "-").replace(" ", "-")


def alternatives(texts: Iterable[str]) -> str:
    """The texts as a list in words: a, b or c."""
    *first, last = texts
    return f"{', '.join(first)} or {last}" if first else last


def bare_type(annotation: Any) -> Any:
    """An annotation without its metadata, and without None if that leaves a single type."""
    if get_origin(annotation) is Annotated:
        return bare_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        others = [other for other in get_args(annotation) if other is not NoneType]
        return bare_type(others[0]) if len(others) == 1 else annotation
    return annotation


def is_section(annotation: Any) -> bool:
    """True for a settings class."""
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def type_below(annotation: Any, key: str) -> Any:
    """The type of the value of `key` in a section, a mapping or a list; None if there cannot be one."""
    if is_section(annotation):
        field = annotation.model_fields.get(key)
        return bare_type(field.annotation) if field else None
    values = {dict: -1, tuple: 0}.get(get_origin(annotation))
    return None if values is None else bare_type(get_args(annotation)[values])


def section_at(settings: type[Settings], path: KeyPath) -> type[Settings]:
    """The section at `path`, through nested sections and mappings of sections."""
    section: Any = functools.reduce(type_below, path, settings)
    return cast(type[Settings], section)


def leaf_fields(settings: type[Settings], above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """The fields of a settings type and of the sections in it, each with its path, without the sections themselves."""
    for name, field in settings.model_fields.items():
        if is_section(field.annotation):
            yield from leaf_fields(cast(type[Settings], field.annotation), (*above, name))
        else:
            yield (*above, name), field
