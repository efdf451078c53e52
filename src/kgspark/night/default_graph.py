"""The relations of the default knowledge graph, and their comments in conf/nightly.yaml."""

from typing import Any

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
    },
    "released_in": {"table": "movies", "head": "movie", "tail": "year", "weight": 0.1},
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
