"""The plain values of a configuration, and the place where each of them was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kgspark.errors import ConfigError

KeyPath = tuple[str, ...]

COMMAND_LINE = "command line"
_DEEPEST = 50


@dataclass
class Document:
    """Plain values of a configuration, and the place where each dotted key was written."""

    origin: str
    values: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """The place where `path`, or the nearest key above it, was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.origin


def read_document(path: Path) -> Document:
    """Parses a YAML mapping, keeping the line and column of every key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; kgspark init writes one for your tables") from None
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
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; a configuration has at most {_DEEPEST} levels") from None
    except ValueError as error:  # the value does not fit its tag: `!!int many`
        raise ConfigError(f"{path}: a value cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1:1: expected a mapping of sections, found {show(values)}")
    document = Document(str(path), values)
    if root is not None:
        _record_places(root, (), str(path), document.places)
    return document


class _Loader(yaml.SafeLoader):
    """YAML without dates: 2026-02-30 should fail later, when the key is known, and not in the parser."""


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
    """Applies one `dotted.key=value` to the document; the value is parsed as YAML."""
    dotted, equals, text = override.partition("=")
    path = tuple(dotted.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{COMMAND_LINE}: expected dotted.key=value, found {override!r}")
    try:
        if len(path) > _DEEPEST:
            raise RecursionError
        value = _parse(text)
    except RecursionError:
        raise ConfigError(f"{COMMAND_LINE}: {'.'.join(path[:3])}...: nested too deeply") from None
    except (yaml.YAMLError, ValueError):
        value = text
    section = document.values
    for length, key in enumerate(path[:-1], 1):
        if not isinstance(section.get(key), dict):
            section[key] = {}
            document.places[path[:length]] = COMMAND_LINE
        section = section[key]
    section[path[-1]] = value
    # The keys below are replaced, so their old places are removed.
    for below in [place for place in document.places if place[: len(path)] == path]:
        del document.places[below]
    document.places[path] = COMMAND_LINE


def show(value: Any) -> str:
    """A value as text for an error, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` merged into `below`, mapping by mapping; a `None` in `above` removes the key."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
