"""conf/nightly.yaml: every key with its default, and its meaning as a comment."""

import textwrap
from collections.abc import Iterator

from kgspark.night.default_graph import NOTES
from kgspark.settings_docs.keys import Key, Section, as_yaml, night

_WIDTH, _COMMENT = 125, 36
_HEAD = """\
# yaml-language-server: $schema=kgspark.schema.json
# Every key of a night with its default. Copy the lines that differ into a file of your own; a key that is left out
# has the value that stands here. On the command line: kgspark nightly CONF train.dim=64 recommend.k=20
# Written by `make docs` from the descriptions of the settings classes; `kgspark settings` prints them.
"""
# Deeper sections are written on one line.
_BLOCKS = 2


def nightly_yaml() -> str:
    """The text of conf/nightly.yaml."""
    return (_HEAD + "\n" + "\n".join(_lines(night())) + "\n").replace("\N{NO-BREAK SPACE}", " ")


def _lines(section: Section) -> Iterator[str]:
    for part in section.parts:
        heading = part.meaning if isinstance(part, Section) else part.entries.meaning if part.entries else None
        if len(part.path) == 1 and heading is not None:
            yield ""
            yield from _heading(heading)
        if isinstance(part, Key):
            yield from _key(part)
        elif len(part.path) > _BLOCKS:
            values = {key.path[-1]: key.example for key in part.all_keys()}
            yield from _with_comment(f"{_name(part)}: {as_yaml(values)}", part.meaning)
        else:
            yield from _with_comment(f"{_name(part)}:", part.meaning if len(part.path) > 1 else "")
            yield from _lines(part)


def _key(key: Key) -> Iterator[str]:
    """A key on one line, or a mapping that is not empty with one line per entry."""
    if not (isinstance(key.example, dict) and key.example):
        yield from _with_comment(f"{_name(key)}: {as_yaml(key.example)}", key.meaning)
        return
    if len(key.path) == 1 and key.entries is not None:
        yield from _entry_keys(key.entries)
    yield from _with_comment(f"{_name(key)}:", key.meaning)
    indent = "  " * len(key.path)
    for name, value in key.example.items():
        yield from _with_comment(f"{indent}{name}: {as_yaml(value)}", NOTES.get(name, ""))


def _entry_keys(entries: Section) -> Iterator[str]:
    """The keys of a mapping's entries as a table in the heading."""
    width = max(len(part.path[-1]) for part in entries.parts)
    for part in entries.parts:
        default = f" ({as_yaml(part.default)})" if isinstance(part, Key) and part.default is not ... else ""
        first = f"#   {part.path[-1]:<{width}}  "
        yield from textwrap.wrap(
            part.meaning + default, _WIDTH, initial_indent=first, subsequent_indent="#" + " " * (len(first) - 1)
        )


def _heading(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from textwrap.wrap(" ".join(paragraph.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _name(part: Key | Section) -> str:
    return "  " * (len(part.path) - 1) + part.path[-1]


def _with_comment(text: str, comment: str) -> Iterator[str]:
    """The text with the comment in its column, or below where the text reaches too far for the first words."""
    if not comment:
        yield text
        return
    start = max(_COMMENT, len(text) + 2)
    if start + len(comment) + 2 <= _WIDTH or start == _COMMENT:
        first, *rest = textwrap.wrap(comment, _WIDTH - start - 2)
        yield f"{text:<{start}}# {first}"
    else:
        yield text
        rest = textwrap.wrap(comment, _WIDTH - _COMMENT - 2)
    for line in rest:
        yield f"{'':<{_COMMENT}}# {line}"
