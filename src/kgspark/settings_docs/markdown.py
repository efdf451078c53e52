"""docs/configuration.md: every section as a table, the recipes, and the keys of earlier versions."""

from collections.abc import Iterable, Iterator

from kgspark.kge import recipes
from kgspark.kge.settings import TrainSection
from kgspark.settings_docs.keys import Key, Section, as_yaml, night, own_values

_HEAD = """\
# Configuration

A night is configured by one YAML file and by `dotted.key=value` on the command line, which wins. A file contains only
values that differ from the defaults; [conf/nightly.yaml](../conf/nightly.yaml) has all of them. `kgspark settings KEY`
prints the lines of this page, and `kgspark config CONF` the values in force, each with its place. Paths in a file are
[relative to the file](first-steps.md#paths). With [conf/kgspark.schema.json](../conf/kgspark.schema.json), an editor
can complete and check a file that begins with `# yaml-language-server: $schema=PATH/TO/kgspark.schema.json`.

`make docs` generates this page from the settings classes.
"""
_RECIPES = """\
## Recipes

A key of `train` that is null takes its value from the recipe of the model; with an objective other than the softmax,
from the recipe of the objective.
"""


def configuration_md() -> str:
    """The text of docs/configuration.md."""
    root = night()
    top = [part for part in root.parts if isinstance(part, Key) and part.entries is None]
    lines = [_HEAD, "## Outside any section\n", *_table(top)]
    for part in root.parts:
        if isinstance(part, Section):
            lines += _section(part)
        elif part.entries is not None:
            lines += ["", f"## {part.dotted}\n", part.entries.meaning, "", *_table(part.entries.all_keys())]
    lines += ["", _RECIPES, *_recipes(), "", "## Keys of earlier versions\n"]
    lines += [f"- `train.{key}`: {sentence}" for key, sentence in TrainSection.former.items()]
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ") + "\n"


def _section(section: Section) -> Iterator[str]:
    """A section, and then its nested sections, each with its keys."""
    for part in section.sections():
        keys = [key for key in part.parts if isinstance(key, Key)]
        yield from ("", f"{'#' * (len(part.path) + 1)} {part.dotted}\n", part.meaning)
        if keys:
            yield from ("", *_table(keys))
        for key in keys:
            if key.entries is not None:
                yield from ("", f"Each entry of `{key.dotted}`:", "", *_table(key.entries.all_keys()))


def _table(keys: Iterable[Key]) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key in keys:
        default = "required" if key.default is ... else f"`{as_yaml(key.example)}`"
        if isinstance(key.example, dict) and key.example:
            default = "see [conf/nightly.yaml](../conf/nightly.yaml)"
        yield f"| `{key.dotted}` | {_cell(key.type)} | {default} | {_cell(key.meaning)} |"


def _recipes() -> Iterator[str]:
    """One column per recipe; equal recipes share a column."""
    columns: dict[str, list[str]] = {}
    for name, recipe in recipes.by_name().items():
        columns.setdefault(repr(recipe), []).append(name)
    firsts = [names[0] for names in columns.values()]
    yield f"| key | {' | '.join('; '.join(names) for names in columns.values())} |"
    yield f"| --- |{' --- |' * len(firsts)}"
    for key in night().all_keys():
        own = own_values(key.path)
        if own:
            yield f"| `{key.dotted}` | {' | '.join(as_yaml(own[name]) for name in firsts)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")
