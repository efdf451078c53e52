"""Configuration: one YAML file and `dotted.key=value` overrides, decoded once into frozen settings.

Every error names where the value came from (file, line and column, or the command line), its dotted key, what was
expected and what was found.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from kgspark.errors import ConfigError

KeyPath = tuple[str, ...]

_COMMAND_LINE = "command line"
_DEEPEST = 50


class Settings(BaseModel):
    """Base of every settings section: immutable, and a key it does not know is an error."""

    # Keys of earlier versions, and the sentence that the error says of each.
    former: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Python counts `true` as 1, and so would `train.epochs: yes`."""
        annotation = cls.model_fields[str(field.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {annotation, *get_args(annotation)}:
            raise ValueError("expected a number")
        return value


@dataclass(frozen=True)
class OneOf:
    """The type of a text that is a name in a table: `Annotated[str, OneOf(TABLE)]`.

    The table is read when a value is validated, so a new name is one line in the table.
    """

    names: Iterable[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.names)}

    def _checked(self, value: str) -> str:
        if value not in self.names:
            raise ValueError(f"expected {_alternatives(self.names)}")
        return value


def _alternatives(names: Iterable[str]) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} or {last}" if first else last


SettingsT = TypeVar("SettingsT", bound=Settings)

# What pydantic says, and how a person would: `expected an integer, found 'many'`.
_WORDING = (
    (r"^Input should be", "expected"),
    (r"a valid (integer|number), unable to parse string as an? \1", r"a \1"),
    (r"a valid (integer|number|string|boolean)", r"a \1"),
    (r"a valid dictionary or instance of .*|a valid dictionary", "a section of keys"),
    (r"a valid (tuple|list)", "a list"),
    (r"\ba integer", "an integer"),
    (r"(greater|less) than or equal to", r"a number \1="),
    (r"(greater|less) than", r"a number \1"),
    (r"^String should match pattern", "expected text like"),
    (r"^(?:Tuple|List) should have at least (\d+) items? after validation, not \d+", r"expected a list of \1 or more"),
    (r"^Keys should be strings", "expected a key that is text"),
    (r"greater=", "≥"), (r"less=", "≤"), (r"greater", ">"), (r"less", "<"),
)  # fmt: skip


@dataclass
class Document:
    """Plain values of a configuration, and where each dotted key was written."""

    origin: str
    values: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Where `path`, or the nearest key above it, was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.origin


def load(settings: type[SettingsT], path: str | Path, overrides: Iterable[str] = ()) -> SettingsT:
    """Reads `path`, lays `overrides` over it and decodes the result.

    Raises ConfigError with one line that names the place, the dotted key, the expectation and what was found.
    """
    document = read_document(Path(path))
    for override in overrides:
        apply_override(document, override)
    return decode(settings, document)


def from_overrides(settings: type[SettingsT], overrides: Iterable[str]) -> SettingsT:
    """Decodes settings that have no file, of overrides alone; raises ConfigError as `load` does."""
    document = Document(_COMMAND_LINE, {})
    for override in overrides:
        apply_override(document, override)
    return decode(settings, document)


def read_document(path: Path) -> Document:
    """Parses a YAML mapping, keeping the line and column of every key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; conf/nightly.yaml shows every key") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        values = {} if root is None else _parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:  # a tag that its value does not fit: `!!int many`
        raise ConfigError(f"{path}: a value cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1:1: expected a mapping of sections, found {_show(values)}")
    document = Document(str(path), values)
    if root is not None:
        _record_places(root, (), str(path), document.places)
    return document


class _Loader(yaml.SafeLoader):
    """YAML without its dates: 2026-02-30 shall fail where the key is known, not in the parser."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _record_places(node: yaml.Node, path: KeyPath, origin: str, places: dict[KeyPath, str]) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    if len(path) > _DEEPEST:
        raise ConfigError(f"{places[path]}: {'.'.join(path[:3])}...: nested too deeply; an anchor may contain itself")
    for key_node, value_node in node.value:
        key_path = (*path, str(key_node.value))
        mark = key_node.start_mark
        place = f"{origin}:{mark.line + 1}:{mark.column + 1}"
        if key_path in places:
            raise ConfigError(f"{place}: {'.'.join(key_path)}: written twice; the first is at {places[key_path]}")
        places[key_path] = place
        _record_places(value_node, key_path, origin, places)


def apply_override(document: Document, override: str) -> None:
    """Lays one `dotted.key=value` over the document; the value is read as YAML."""
    dotted, equals, text = override.partition("=")
    path = tuple(dotted.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{_COMMAND_LINE}: expected dotted.key=value, found {override!r}")
    try:
        value = _parse(text)
    except (yaml.YAMLError, ValueError):
        value = text
    section = document.values
    for length, key in enumerate(path[:-1], 1):
        if not isinstance(section.get(key), dict):
            section[key] = {}
            document.places[path[:length]] = _COMMAND_LINE
        section = section[key]
    section[path[-1]] = value
    # What stood below the key is gone, and so are the places where it was written.
    for below in [place for place in document.places if place[: len(path)] == path]:
        del document.places[below]
    document.places[path] = _COMMAND_LINE


def decode(settings: type[SettingsT], document: Document) -> SettingsT:
    """Validates a document against a settings type; raises ConfigError for the first thing that is wrong."""
    try:
        return settings.model_validate(document.values)
    except ValidationError as error:
        # An unknown key is reported first: a misspelt section makes its right spelling look missing.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise ConfigError(_describe(settings, document, problems[0])) from None


def _describe(settings: type[Settings], document: Document, problem: Mapping[str, Any]) -> str:
    path = tuple(str(part) for part in problem["loc"] if str(part) != "[key]")
    where, dotted = document.place(path), ".".join(path)
    if problem["type"] == "extra_forbidden":
        section = _section_at(settings, path[:-1])
        if path[-1] in section.former:
            return f"{where}: {dotted}: {section.former[path[-1]]}"
        known = sorted(section.model_fields)
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys here: {', '.join(known) or 'none'}"
        return f"{where}: {dotted}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: {dotted}: required, but not given"
    message = problem["msg"].removeprefix("Value error, ")
    for theirs, ours in _WORDING:
        message = re.sub(theirs, ours, message)
    # A rule over several sections has no place of its own, and names its keys itself.
    return f"{where}: {dotted}: {message}, found {_show(problem['input'])}" if path else f"{where}: {message}"


def _section_at(settings: type[Settings], path: KeyPath) -> type[Settings]:
    """The section at `path`, walking through nested sections and mappings of sections."""
    section: Any = settings
    for key in path:
        is_section = isinstance(section, type) and issubclass(section, BaseModel)
        section = section.model_fields[key].annotation if is_section else get_args(section)[-1]
    found: type[Settings] = section
    return found


def leaf_fields(settings: type[Settings], above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """The fields of a settings type and of the sections in it, each with its path, but no section itself."""
    for name, info in settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Settings):
            yield from leaf_fields(info.annotation, (*above, name))
        else:
            yield (*above, name), info


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping; a `None` above removes the key."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
