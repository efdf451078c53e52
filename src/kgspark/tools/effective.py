"""`kgspark config CONF`: the values that a night runs with, and where each was written."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kgspark.config import Document, decode, document_with, is_section, section_at
from kgspark.night.settings import NightSettings
from kgspark.redaction import redact

_DEFAULT = "default"
# The keys that choose the recipe, which gives the other keys of train their defaults.
_OF_RECIPE = ("model", "objective", "norm")
# The width of output that does not go to a terminal.
_WIDTH = 160


@dataclass(frozen=True)
class Value:
    """One key: its value, the default, and where the value was written: file:line:column, command line, or default."""

    key: str
    value: Any
    default: Any
    origin: str


def run(conf: str, overrides: Sequence[str], say: Callable[[str], None], all: bool = False) -> list[dict[str, Any]]:
    """Prints a line for each key that differs from its default, or for each key; returns the same for `--json`."""
    values = effective_values(conf, overrides)
    shown = [each for each in values if all or each.value != each.default or each.origin != _DEFAULT]
    say(_table(shown))
    if not all:
        say(f"\n{len(values) - len(shown):,} other keys have their defaults; --all shows them.")
    return [asdict(each) for each in shown]


def effective_values(conf: str, overrides: Sequence[str]) -> list[Value]:
    """Every key of the settings of a night; ConfigError if they are wrong."""
    document = document_with(NightSettings, conf, overrides)
    settings = decode(NightSettings, document)
    # The defaults of a source of this kind: those of events and of lines without times are others.
    kind = {
        "path": "",
        "format": settings.source.format,
        "columns": settings.source.columns.model_dump(),
        "events": settings.source.events,
    }
    recipe = {key: getattr(settings.train, key) for key in _OF_RECIPE}
    bare = NightSettings.model_validate({"source": kind, "run_date": settings.run_date, "train": recipe})
    defaults = dict(_leaves(_resolved(bare))) | {("source", "path"): None}
    defaults |= {("train", key): _class_default(("train", key)) for key in _OF_RECIPE}
    values = []
    for path, value in _leaves(_resolved(settings)):
        default = defaults[path] if path in defaults else _class_default(path)
        values.append(Value(".".join(path), value, default, _origin(document, path, value == default)))
    return values


def _resolved(settings: NightSettings) -> dict[str, Any]:
    """Plain values, with those of the recipe in place of each null of train."""
    plain = settings.model_dump(mode="json")
    train = settings.train.resolved().model_dump(mode="json")
    return plain | {"train": {key: train.get(key, value) for key, value in plain["train"].items()}}


def _class_default(path: tuple[str, ...]) -> Any:
    """The default of a key of an entry with a name of the user's own, such as source.tables.facts.format."""
    section = section_at(NightSettings, path[:-1])
    field = section.model_fields.get(path[-1]) if is_section(section) else None
    return (
        None
        if field is None or field.is_required()
        else field.get_default(call_default_factory=True, validated_data={})
    )


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, below in value.items():
        if isinstance(below, Mapping) and below:
            yield from _leaves(below, (*path, key))
        else:
            yield (*path, key), below


def _origin(document: Document, path: tuple[str, ...], is_default: bool) -> str:
    """The place where the key was written, or the nearest one above it whose value is no mapping: `head: user`."""
    values: Any = document.values
    for length, key in enumerate(path, 1):
        if not isinstance(values, Mapping) or key not in values:
            return _DEFAULT
        values = values[key]
        if length == len(path) or not isinstance(values, Mapping):
            return _DEFAULT if length < len(path) and is_default else document.place(path[:length])
    return _DEFAULT


def _table(values: Sequence[Value]) -> str:
    """Text in columns, without colours unless a terminal shows it."""
    table = Table.grid(padding=(0, 2))
    for each in values:
        table.add_row(Text(each.key, "bold"), Text(redact(_shown(each.value))), Text(each.origin, "dim"))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'
