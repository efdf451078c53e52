"""`kgspark settings [KEY]`: type, default and meaning, from the descriptions of the settings classes."""

import difflib
import inspect
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kgspark.errors import ConfigError
from kgspark.kge.settings import TrainSection
from kgspark.settings_docs.keys import Key, Section, as_yaml, night, own_values, section

# A name, because nothing may import the benchmarks.
_BENCHMARKS = "kgspark.bench.run"
# The width of output that does not go to a terminal.
_WIDTH = 120


def settings_page(words: Sequence[str], shown: bool = True) -> list[dict[str, Any]]:
    """The settings that `words` name; prints them if `shown`; ConfigError for an unknown name."""
    if not words:
        keys = _outline(shown)
    elif words[0] == "bench":
        keys = _benches(shown) if len(words) == 1 else _all_of(_bench(words[1]), shown)
    elif words[0] == "generate":
        from kgspark.synthetic import SyntheticSettings

        keys = _all_of(section(SyntheticSettings), shown)
    elif len(words) > 1:
        raise ConfigError(f"settings: expected one key, found {' '.join(words)!r}")
    else:
        found = find(words[0])
        keys = _all_of(found, shown) if isinstance(found, Section) else _one(found, shown)
    return [_as_json(key) for key in keys]


def find(name: str) -> Key | Section:
    """The key or section of a dotted name; ConfigError with the nearest name if there is none."""
    known = {part.dotted: part for part in _parts(night())}
    parts = name.split(".")
    for end in range(1, len(parts)):  # a name chosen by the user: relations.liked.where
        generic = ".".join([*parts[:end], "NAME", *parts[end + 1 :]])
        if generic in known:
            return known[generic]
    if name in known:
        return known[name]
    if parts[0] == "train" and parts[-1] in TrainSection.former:
        raise ConfigError(f"settings: {name}: {TrainSection.former[parts[-1]]}")
    close = [dotted for dotted in known if dotted.split(".")[-1] == name] or difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "kgspark settings lists all sections"
    raise ConfigError(f"settings: {name}: unknown key; {hint}")


def print_keys(sections: Sequence[str]) -> None:
    """Prints the keys of the named sections, or an outline of all sections, for the end of a command's help."""
    console = _console()
    console.print(Text(" Settings, as key=value or in the file:\n", "bold"))
    for name in sections:
        found = find(name)
        keys = found.entries.all_keys() if isinstance(found, Key) and found.entries else _keys(found)
        console.print(Padding(_table(keys), (0, 0, 1, 1)))
    if not sections:
        _outline(shown=True)


def _keys(found: Key | Section) -> Iterable[Key]:
    return found.all_keys() if isinstance(found, Section) else [found]


def _parts(outer: Section) -> Iterable[Key | Section]:
    """Every section and key, also those of a mapping's entries."""
    for inner in outer.sections():
        if inner.path:
            yield inner
        for part in inner.parts:
            if isinstance(part, Key):
                yield part
                if part.entries is not None:
                    yield from part.entries.all_keys()


def _outline(shown: bool) -> list[Key]:
    """All keys; prints one line per section."""
    table = Table.grid(padding=(0, 2))
    for part in night().parts:
        meaning = part.entries.meaning if isinstance(part, Key) and part.entries else part.meaning
        table.add_row(Text(part.dotted, "bold"), Text(inspect.cleandoc(meaning).split("\n\n")[0].replace("\n", " ")))
    table.add_row(Text("bench NAME", "bold"), Text("The settings of a benchmark."))
    table.add_row(Text("generate", "bold"), Text("The size of synthetic ratings."))
    if shown:
        _console().print(table)
    return list(night().all_keys())


def _all_of(found: Section, shown: bool) -> list[Key]:
    keys = list(found.all_keys())
    if shown:
        _console().print(Text(found.meaning), Text(), _table(keys), sep="\n")
    return keys


def _one(key: Key, shown: bool) -> list[Key]:
    keys = [key, *(key.entries.all_keys() if key.entries else ())]
    if shown:
        console = _console()
        console.print(
            Text(key.dotted, "bold"), Text(f"  {key.meaning or (key.entries and key.entries.meaning)}"), sep="\n"
        )
        console.print(Text(f"  type     {key.type}\n  default  {_default(key)}"))
        own = own_values(key.path)
        if own:
            console.print(Text("  null     " + "\n           ".join(f"{name}: {as_yaml(own[name])}" for name in own)))
        if key.entries:
            console.print(Text(), _table(key.entries.all_keys()), sep="\n")
    return keys


def _benches(shown: bool) -> list[Key]:
    table = Table.grid(padding=(0, 2))
    for name, benchmark in import_module(_BENCHMARKS).BENCHES.items():
        table.add_row(Text(name, "bold"), Text(benchmark.about))
    if shown:
        _console().print(table)
    return []


def _bench(name: str) -> Section:
    return section(import_module(_BENCHMARKS).load(name).SETTINGS)


def _table(keys: Iterable[Key]) -> Table:
    table = Table.grid(padding=(0, 2))
    for key in keys:
        table.add_row(Text(key.dotted, "bold"), Text(_default(key)), Text(f"{key.meaning} [{key.type}]"))
    return table


def _default(key: Key) -> str:
    if key.default is ...:
        return "(required)"
    return "{...}" if isinstance(key.default, dict) and key.default else as_yaml(key.default)


def _as_json(key: Key) -> dict[str, Any]:
    default = {} if key.default is ... else {"default": key.default}
    return {"key": key.dotted, "type": key.type, **default, "meaning": key.meaning.replace("\N{NO-BREAK SPACE}", " ")}


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
