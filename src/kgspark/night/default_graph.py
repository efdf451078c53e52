"""The relations of the default knowledge graph, and their comments in conf/nightly.yaml."""

import difflib
from collections.abc import Mapping
from typing import Any

from kgspark.config import merged
from kgspark.tables import CO_WATCHED

DEFAULT_RELATIONS: dict[str, dict[str, Any]] = {
    "liked": {
        "table": "ratings",
        "head": "user",
        "tail": "movie",
        "where": "rating >= 4.0",
        "weight": "rating / 4",
    },
    "watched": {
        "table": "ratings",
        "head": "user",
        "tail": "movie",
        "where": "rating < 4.0",
        "weight": 0.0,
    },
    "has_genre": {
        "table": "movies",
        "head": "movie",
        "tail": {"kind": "genre", "column": "genres"},
        "explode": "genres",
        "weight": 0.1,
        "optional": True,
    },
    "released_in": {"table": "movies", "head": "movie", "tail": "year", "weight": 0.1, "optional": True},
    "has_gender": {"table": "users", "head": "user", "tail": "gender", "weight": 0.1, "optional": True},
    "has_age": {"table": "users", "head": "user", "tail": "age", "weight": 0.1, "optional": True},
    "has_occupation": {"table": "users", "head": "user", "tail": "occupation", "weight": 0.1, "optional": True},
    "watched_with": {
        "table": "co_watched",
        "head": "movie",
        "tail": {"kind": "movie", "column": "other_movie_id"},
        "weight": "users / 60",
    },
    "tagged": {"table": "tags", "head": "movie", "tail": "tag", "weight": 0.1, "optional": True},
}

# For events, which have no scale of stars: the changed keys. The weight of an event with the rating 1 is 1.
_OF_EVENTS: dict[str, dict[str, Any]] = {
    "liked": {"where": "rating > 0", "weight": "log2(1 + rating)"},
    "watched": {"where": "rating <= 0"},
}

NOTES = {
    "liked": "a higher rating counts more",
    "watched": "not learned; gives users without a like a query from facts",
    "watched_with": "the at most 2 · window neighbours of a like weigh about a tenth of it together",
}


def default_relations(has_ratings: bool, has_times: bool) -> dict[str, dict[str, Any]]:
    """The default relations of a source, whose lines may have no ratings (events), or no times."""
    fitting = DEFAULT_RELATIONS if has_ratings else merged(DEFAULT_RELATIONS, _OF_EVENTS)
    return {name: relation for name, relation in fitting.items() if has_times or relation["table"] != CO_WATCHED}


def with_defaults(given: Mapping[str, Any], has_ratings: bool = True, has_times: bool = True) -> dict[str, Any]:
    """The relations of a file, each merged into the default of its name; `name: null` removes a default.

    A relation that names its table is complete, and takes nothing from a default of the same name. Raises ValueError
    for a change or a removal of a default that does not exist.

    has_ratings, has_times  of the source's lines: see `default_relations`
    """
    for name, relation in given.items():
        if name not in DEFAULT_RELATIONS and not _is_complete(relation):
            close = difflib.get_close_matches(str(name), DEFAULT_RELATIONS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the defaults are {', '.join(DEFAULT_RELATIONS)}"
            raise ValueError(f"relations.{name}: no default relation has this name, and its table is not given; {hint}")
    defaults = default_relations(has_ratings, has_times)
    below = {name: {} if _is_complete(given.get(name)) else default for name, default in defaults.items()}
    return merged(below, given)


def _is_complete(relation: Any) -> bool:
    return isinstance(relation, Mapping) and "table" in relation
