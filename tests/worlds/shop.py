"""A shop's events: visitors look at, reserve and buy articles of their own group, in three days."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DAYS = ("2026-02-27", "2026-03-01", "2026-03-02")
TYPES = {"view": 1, "cart": 3, "purchase": 5}
_COLUMNS = {"user": "visitor", "movie": "sku", "rating": None, "timestamp": "at", "event": "what"}
_GROUPS, _VISITORS, _ARTICLES = 3, 12, 6


@dataclass(frozen=True)
class Event:
    """One line; `day` is a date of `DAYS` in New York."""

    day: str
    line: str


def events(seed: int = 5) -> list[Event]:
    """Events in random order: each visitor has those of five of the six articles of the own group."""
    chance, made = random.Random(seed), []
    for group in range(_GROUPS):
        for visitor in range(_VISITORS):
            for article in range(_ARTICLES):
                if article == visitor % _ARTICLES:
                    continue
                for what in ("view", *chance.sample(["view", "cart", "purchase"], chance.randrange(3))):
                    made.append(_event(chance, f"v-{group}{visitor:02}", f"00{group}/{article}", what))
    chance.shuffle(made)
    return made


def _event(chance: random.Random, visitor: str, sku: str, what: str) -> Event:
    day = chance.choice(DAYS)
    # The last hours of a day in New York are on the next one in UTC.
    hour, minute, second = chance.randrange(20, 24), chance.randrange(60), chance.randrange(60)
    clock = f"{hour}:{minute:02}:{second:02}.{chance.randrange(1000):03}"
    zone = chance.choice(["-05:00", ""])
    return Event(day, f"{day}T{clock}{zone},{visitor},{sku},{what}")


def write_shop(folder: Path, lines: Sequence[str]) -> dict[str, Any]:
    """Writes the lines to a new folder; returns the section `source` that reads them."""
    folder.mkdir(parents=True)
    (folder / "events.csv").write_text("\n".join(["at,visitor,sku,what", *lines]) + "\n")
    return {
        "path": str(folder),
        "format": "table",
        "ids": "string",
        "timezone": "America/New_York",
        "columns": _COLUMNS,
        "events": TYPES,
    }
