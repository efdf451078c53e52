"""From a document to settings; raises an error of one line for the first problem."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from kgspark.config.document import COMMAND_LINE, Document, KeyPath, apply_override, read_document, show
from kgspark.config.paths import from_folder
from kgspark.config.settings import Settings, alternatives, is_section, section_at, type_below
from kgspark.errors import ConfigError

SettingsT = TypeVar("SettingsT", bound=Settings)
Problem = Mapping[str, Any]

# pydantic appends this to the place of a mapping's key, if the key itself is wrong and not its value.
_OF_KEY = "[key]"
_COLLECTIONS = {"Tuple": "a list", "List": "a list", "Dictionary": "a section"}
# The expectation, by the type of pydantic's error; a function of the error's context.
_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "int_type": lambda context: "an integer",
    "int_parsing": lambda context: "an integer",
    "int_from_float": lambda context: "an integer",
    "float_type": lambda context: "a number",
    "float_parsing": lambda context: "a number",
    "finite_number": lambda context: "a finite number",
    "greater_than": lambda context: f"a number > {context['gt']:g}",
    "greater_than_equal": lambda context: f"a number ≥ {context['ge']:g}",
    "less_than": lambda context: f"a number < {context['lt']:g}",
    "less_than_equal": lambda context: f"a number ≤ {context['le']:g}",
    "bool_type": lambda context: "true or false",
    "bool_parsing": lambda context: "true or false",
    "string_type": lambda context: "a string",
    "string_too_short": lambda context: f"a string of {context['min_length']} or more characters",
    "string_pattern_mismatch": lambda context: f"text like '{context['pattern']}'",
    "path_type": lambda context: "a path",
    "date_type": lambda context: "a date as YYYY-MM-DD",
    "date_from_datetime_parsing": lambda context: "a date as YYYY-MM-DD",
    "date_from_datetime_inexact": lambda context: "a date as YYYY-MM-DD",
    "literal_error": lambda context: context["expected"],
    "dict_type": lambda context: "a section of keys",
    "model_type": lambda context: "a section of keys",
    "tuple_type": lambda context: "a list",
    "list_type": lambda context: "a list",
    "too_short": lambda context: f"{_COLLECTIONS[context['field_type']]} of {context['min_length']} or more",
    "too_long": lambda context: f"a list of {context['max_length']} or fewer",
    "invalid_key": lambda context: "a key that is text",
}


def load(settings: type[SettingsT], path: str | Path, overrides: Iterable[str] = ()) -> SettingsT:
    """Reads `path`, applies `overrides` to it and decodes the result.

    Paths in the file are relative to its folder; those of overrides and defaults are relative to the working folder.
    Raises ConfigError with one line: the place, the dotted key, the expectation and the value found.
    """
    return decode(settings, document_with(settings, path, overrides))


def document_with(settings: type[SettingsT], path: str | Path, overrides: Iterable[str] = ()) -> Document:
    """The values of the file `path` and of the overrides, with the place of each; see `load`."""
    document = read_document(Path(path))
    document.values = from_folder(settings, document.values, Path(path).parent)
    return _with(document, overrides)


def from_overrides(settings: type[SettingsT], overrides: Iterable[str]) -> SettingsT:
    """Decodes settings from overrides alone, without a file; raises ConfigError as `load` does."""
    return decode(settings, _with(Document(COMMAND_LINE, {}), overrides))


def _with(document: Document, overrides: Iterable[str]) -> Document:
    for override in overrides:
        apply_override(document, override)
    return document


def decode(settings: type[SettingsT], document: Document) -> SettingsT:
    """Validates a document against a settings type; raises ConfigError for the first problem."""
    try:
        return settings.model_validate(document.values)
    except ValidationError as error:
        # An unknown key is reported first: if a section is misspelt, the right one seems to be missing.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise ConfigError(_line(settings, document, problems)) from None


def _line(settings: type[Settings], document: Document, problems: Sequence[Problem]) -> str:
    """Place, dotted key and sentence of the first problem."""
    problem = problems[0]
    path = _key_path(settings, problem)
    where, dotted = document.place(path), ".".join(path)
    if problem["type"] == "extra_forbidden":
        return f"{where}: {dotted}: {_unknown(section_at(settings, path[:-1]), path[-1])}"
    if problem["type"] == "missing":
        return f"{where}: {dotted}: required, but not given"
    if not path:  # a rule for several sections has no place, and its message contains the keys
        return f"{where}: {expectation(problem)}"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):  # a rule for keys of one section
        return f"{where}: {dotted}: {expectation(problem)}"
    # Each alternative of a union is a separate problem with the same key.
    of_key = [other for other in problems if _key_path(settings, other) == path]
    return f"{where}: {dotted}: {expectation(*of_key)}, found {show(problem['input'])}"


def _key_path(settings: type[Settings], problem: Problem) -> KeyPath:
    """The key of a problem. pydantic appends the alternatives of a union, and marks wrong keys."""
    path: list[str] = []
    annotation: Any = settings
    for part in problem["loc"]:
        if part == _OF_KEY:
            break
        below = type_below(annotation, str(part))
        unknown = below is None and is_section(annotation)
        if below is None and not unknown:
            break
        path.append(str(part))
        annotation = below
    return tuple(path)


def _unknown(section: type[Settings], key: str) -> str:
    if key in section.former:
        return section.former[key]
    known = sorted(section.model_fields)
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys here: {', '.join(known) or 'none'}"
    return f"unknown key; {hint}"


def expectation(*problems: Problem) -> str:
    """The expectation in words, from one pydantic problem, or from those of a union's alternatives."""
    known = [problem for problem in problems if problem["type"] in _EXPECTED]
    if known:
        sentences = [_EXPECTED[problem["type"]](problem.get("ctx", {})) for problem in known]
        return f"expected {alternatives(dict.fromkeys(sentences))}"
    if problems[0]["type"] == "value_error":
        return str(problems[0]["ctx"]["error"])
    return str(problems[0]["msg"])
