"""The relations of the default knowledge graph, and their comments in conf/nightly.yaml."""

import difflib
from collections.abc import Mapping
from typing import Any

from kgspark.config import merged

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

NOTES = {
    "liked": "a higher rating counts more",
    "watched": "not learned; gives users without a like a query from facts",
    "watched_with": "the at most 2 · window neighbours of a like weigh about a tenth of it together",
}


def with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The relations of a file, each merged into the default of its name; `name: null` removes a default.

    A relation that names its table is complete, and takes nothing from a default of the same name. Raises ValueError
    for a change or a removal of a default that does not exist.
    """
    for name, relation in given.items():
        if name not in DEFAULT_RELATIONS and not _is_complete(relation):
            close = difflib.get_close_matches(str(name), DEFAULT_RELATIONS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the defaults are {', '.join(DEFAULT_RELATIONS)}"
            raise ValueError(f"relations.{name}: no default relation has this name, and its table is not given; {hint}")
    below = {name: {} if _is_complete(given.get(name)) else default for name, default in DEFAULT_RELATIONS.items()}
    return merged(below, given)


def _is_complete(relation: Any) -> bool:
    return isinstance(relation, Mapping) and "table" in relation
