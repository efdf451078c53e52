"""The templates of reasons: their cases and the words that they may have."""

from string import Formatter

from kgspark.tables import PLACED_SOURCES, POPULAR_SOURCES

# The cases of rows, besides the names of relations, and the words that a template of each may have.
SHARED, LIKED = "shared", "liked"
_WORDS = {SHARED: ("movie", "relation", "entity"), LIKED: ("movie",)}
CASES = (SHARED, LIKED, *POPULAR_SOURCES, *PLACED_SOURCES)


def check_template(case: str, template: str) -> None:
    """ValueError for a template that has other words than its case knows."""
    known = _WORDS.get(case, () if case in CASES else _WORDS[SHARED])
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{case}: {error}") from None
    for _, word, form, conversion in parsed:
        if word is not None and (word not in known or form or conversion):
            words = ", ".join(f"{{{each}}}" for each in known) or "none"
            raise ValueError(f"{case}: unknown {{{word}}}; the words of this case are {words}")
