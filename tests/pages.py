"""Reads README and the pages under docs/ for tests: code blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nights import DATE, ROOT

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#.*$")
# Text that a shell or a scheduler replaces by a date before kgspark gets the command.
_DATE_OF_A_SCHEDULER = re.compile(r"\$\(date [^)]*\)|\{\{ ds \}\}")


@dataclass(frozen=True)
class Block:
    """A fenced code block: its page, the line of its first row, its language, and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command line that a page shows, without comments, variables of the environment, and redirections."""

    block: Block
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.block} {shlex.join(self.words)}"

    @property
    def program(self) -> str:
        """Name of the program, without its folder."""
        return Path(self.words[0]).name


def blocks(*languages: str) -> list[Block]:
    """The code blocks of all pages in the given languages, in the order of the pages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            found.append(Block(page, line, match[1], match[2]))
    return [block for block in found if block.language in languages]


def languages() -> set[str]:
    """The languages of all code blocks."""
    return {match[1] for page in PAGES for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))}


def commands() -> list[Command]:
    """Every command that a page shows: lines of `sh` and `crontab` blocks, and `bash_command` of Python blocks."""
    return [
        Command(block, words)
        for block in blocks("sh", "crontab", "python")
        for line in _LINES[block.language](block.text)
        for words in _words(line)
    ]


def _shell_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line := _COMMENT.sub("", line).strip():
            yield line


def _crontab_lines(text: str) -> Iterator[str]:
    """The sixth field of each line; a percent sign is escaped in a crontab."""
    for line in _shell_lines(text):
        yield line.split(maxsplit=5)[5].replace("\\%", "%")


def _lines_in_python(text: str) -> Iterator[str]:
    for match in re.finditer(r'bash_command="([^"]*)"', text):
        yield match[1]


_LINES = {"sh": _shell_lines, "crontab": _crontab_lines, "python": _lines_in_python}


def _words(line: str) -> Iterator[tuple[str, ...]]:
    """The commands that a line joins by `&&`."""
    line = _DATE_OF_A_SCHEDULER.sub(DATE, line)
    for part in line.split(" && "):
        words = shlex.split(re.sub(r"\s+\d*>.*$", "", part))
        while re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        yield tuple(words)


def links() -> list[tuple[Path, str]]:
    """Every relative link as (page, target), with its anchor."""
    found = []
    for page in PAGES:
        text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
        targets = re.findall(r"\]\(([^)]+)\)", text)
        found += [(page, target) for target in targets if "://" not in target]
    return found


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(page: Path) -> list[str]:
    """The texts in single backticks."""
    return re.findall(r"`([^`\n]+)`", _BLOCK.sub("", page.read_text(encoding="utf-8")))
