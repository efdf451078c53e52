"""What the texts of a column look like: ids, numbers, times, genres."""

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kgspark.spark.cleaning.time_units import LOOKS

_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]*)(?:\.0+)?")
_NUMBER = re.compile(r"-?(?:[0-9]+(?:[.,][0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LOOKS = {unit: re.compile(pattern.replace(r"\z", r"\Z")) for unit, pattern in LOOKS.items()}
_OTHER_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?:[ T]\d{1,2}:\d{2}.*)?|\d{4}/\d{1,2}/\d{1,2}.*")
# A number of seconds since 1970 is taken as a time if it lies in 1995 or later.
_FIRST_SECOND = 788_918_400
# Rating scales that are in use, the narrowest first: lowest, highest, step.
_SCALES = (
    (0, 1, 1),
    (-1, 1, 1),
    (1, 5, 1),
    (0.5, 5, 0.5),
    (0, 5, 1),
    (0, 5, 0.5),
    (1, 5, 0.1),
    (1, 5, 0.01),
    (1, 10, 1),
    (0, 10, 1),
    (0.5, 10, 0.5),
    (0, 10, 0.5),
    (0, 10, 0.1),
    (0, 100, 1),
)
_GENRE_SEPARATORS = ("|", ";", ", ", ",", " / ", "/", "&")


@dataclass(frozen=True)
class Scale:
    """A scale of ratings, and the rating from which it counts as a like."""

    low: float
    high: float
    step: float

    @property
    def liked(self) -> float:
        """Three quarters up the scale, on a step: 4 of 1 to 5, 8 of 1 to 10, 1 of 0 and 1."""
        steps = (self.low + 0.75 * (self.high - self.low) - self.low) / self.step
        return round(self.low + math.ceil(steps - 1e-9) * self.step, 6)


def present(texts: Sequence[str], missing: Collection[str] = ()) -> list[str]:
    """The texts that are values."""
    return [text for text in texts if text and text not in missing]


def is_number(text: str) -> bool:
    """True for digits with a sign, a fraction after a point or a comma, and an exponent, or without these."""
    return _NUMBER.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """True for a date with or without a time of day, in the order that cleaning reads or in another one."""
    return _LOOKS["iso"].match(text) is not None or _OTHER_DATE.fullmatch(text) is not None


def are_integers(texts: Sequence[str]) -> bool:
    """True if all texts are ids of the type integer."""
    return all(_INTEGER.fullmatch(text) for text in texts)


def are_numbers(texts: Sequence[str]) -> bool:
    """True if nearly all of the texts are numbers, and there is one."""
    return bool(texts) and sum(map(is_number, texts)) >= 0.98 * len(texts)


def decimal_comma(texts: Sequence[str]) -> bool:
    """True if the fractions of the numbers follow a comma."""
    return any("," in text for text in texts if is_number(text))


def numbers(texts: Sequence[str]) -> list[float]:
    """The numbers among the texts."""
    return [float(text.replace(",", ".")) for text in texts if is_number(text)]


def time_unit(texts: Sequence[str]) -> str | None:
    """The unit that nearly all texts look like; `other` for dates that cleaning does not read; None for no times."""
    if not texts:
        return None
    looks = Counter(next((unit for unit, look in _LOOKS.items() if look.match(text)), "") for text in texts)
    unit, count = looks.most_common(1)[0]
    if unit and count >= 0.98 * len(texts):
        late = unit != "seconds" or all(value >= _FIRST_SECOND for value in numbers(texts))
        return unit if late else None
    return "other" if sum(map(is_time, texts)) >= 0.98 * len(texts) else None


def find_scale(values: Sequence[float]) -> tuple[Scale, bool]:
    """The narrowest usual scale that has all values, and True; or their own range and step, and False."""
    for low, high, step in _SCALES:
        if all(low <= value <= high and abs(value / step - round(value / step)) < 1e-6 for value in values):
            return Scale(low, high, step), True
    thousandths = [round(value * 1000) for value in values]
    step = max(math.gcd(*(each - min(thousandths) for each in thousandths)), 1) / 1000
    return Scale(min(values), max(max(values), min(values) + step), step), False


def genre_separator(texts: Sequence[str]) -> str | None:
    """The separator of several genres in one text; None if the texts are lists, or if each is one genre."""
    if any(_is_list(text) for text in texts[:100]):
        return None
    for separator in _GENRE_SEPARATORS:
        split = [part for text in texts for part in text.split(separator) if separator in text]
        # Names that come back in other texts are genres; a comma in a name makes parts that do not.
        if len(split) >= 0.1 * len(texts) and len(set(split)) <= 0.5 * len(split):
            return separator.strip() or separator
    return None


def _is_list(text: str) -> bool:
    if not text.startswith("["):
        return False
    try:
        return isinstance(json.loads(text.replace("'", '"')), list)
    except ValueError:
        return False
