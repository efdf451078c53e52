"""Finds a movie by its id, or by the beginning of its title."""

import re

from kgspark.answers.frames import find_positions
from kgspark.answers.material import Material
from kgspark.errors import InputError

_SHOWN = 8
# “Matrix, The (1999)” is also found as “The Matrix”.
_ARTICLE = re.compile(r"^(.*), (the|a|an|der|die|das|le|la|les|l'|il|el|los|las)(?= \(|$)(.*)$")
_YEAR = re.compile(r" \(\d{4}\)$")


def find_movie(material: Material, movie: int | str) -> int:
    """The position of the movie with this id, else of the only one whose title begins so, whatever the case.

    A title that is the text as a whole, with or without its year, comes before longer ones. Raises InputError if there
    is none, or with the matches if there are several.
    """
    (place,) = find_positions([movie], material.movie_ids)
    if place >= 0:
        return int(place)
    word, text = material.described.names.movie, str(movie).strip().casefold()
    titles = material.titles()
    matches = {each: title for each, title in titles.items() if any(_forms_begin(title, text))}
    whole = [each for each, title in matches.items() if text in _whole_forms(title)]
    found = whole if len(whole) == 1 else list(matches)
    if len(found) == 1:
        (place,) = find_positions(found, material.movie_ids)
        if place >= 0:
            return int(place)
    if not found or not text:
        what = "id or a title's beginning" if titles else "id, because this data has no titles"
        raise InputError(f"no {word} {movie!r} in {material.described.origin}; expected an {what}")
    shown = "; ".join(f"{each} {matches[each]}" for each in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise InputError(f"{movie!r} is the beginning of {len(found)} titles: {shown}{more}; give an id or a longer title")


def _forms_begin(title: str, text: str) -> list[bool]:
    return [form.startswith(text) for form in _forms(title)]


def _whole_forms(title: str) -> set[str]:
    return {form for each in _forms(title) for form in (each, _YEAR.sub("", each))}


def _forms(title: str) -> list[str]:
    """The title in small letters, and with its article in front."""
    plain = title.casefold()
    moved = _ARTICLE.sub(lambda found: f"{found[2]} {found[1]}{found[3]}", plain)
    return [plain] if moved == plain else [plain, moved]
