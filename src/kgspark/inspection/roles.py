"""Which column of a table is the user, the item, the rating, ..., by its name and its values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from kgspark.inspection.tables import Table
from kgspark.inspection.values import are_numbers, present, time_unit

# Words that name a role. A column's name counts by its words: `customer_id`, `customerId`, `custid`.
_WORDS = {
    "user": (
        "user", "member", "customer", "client", "visitor", "buyer", "viewer", "listener", "reader", "reviewer",
        "account", "subscriber", "player", "student", "person", "profile", "consumer", "shopper", "usr", "cust", "uid",
        "household",
    ),
    "movie": (
        "movie", "item", "product", "film", "sku", "article", "asin", "book", "isbn", "track", "song", "artist",
        "video", "game", "anime", "recipe", "business", "listing", "app", "show", "course", "offer", "restaurant",
        "hotel", "iid", "podcast", "episode", "post", "news", "document", "doc", "place", "venue", "poi", "joke",
        "content", "mid", "pid",
    ),
    "rating": ("rating", "ratings", "stars", "star", "score", "overall", "grade", "rate", "vote", "mark", "bewertung"),
    "timestamp": (
        "timestamp", "time", "ts", "datetime", "date", "at", "created", "when", "day", "unixtime", "zeit", "datum",
    ),
    "event": ("event", "action", "behavior", "behaviour", "interaction", "activity", "type", "kind", "verb"),
    "count": (
        "count", "plays", "quantity", "qty", "pieces", "clicks", "views", "listens", "amount", "times", "seconds",
        "minutes", "duration", "weight", "frequency", "playcount", "purchases", "units",
    ),
    "title": ("title", "name", "titel", "headline", "label"),
    "genres": ("genres", "genre", "categories", "category", "topics", "subjects", "tags", "classes"),
}  # fmt: skip
_OF_RATINGS = ("user", "movie", "rating", "timestamp", "event", "count")
_MOST_EVENT_TYPES = 30
_MOST_RATINGS = 250


@dataclass(frozen=True)
class Roles:
    """The columns of a table by their roles.

    columns  name of the column that has each role
    others   further columns that might have it
    guessed  roles that only the values or the order of the columns suggest
    """

    columns: dict[str, str]
    others: dict[str, list[str]] = field(default_factory=dict)
    guessed: frozenset[str] = frozenset()


def roles_of_ratings(table: Table) -> Roles:
    """The roles of the columns of a table of ratings or events; without those that no column has."""
    columns: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for role in ("timestamp", "rating", "user", "movie", "event", "count"):
        fitting = [name for name in _by_name(table, role) if name not in columns.values() and _FITS[role](table, name)]
        if fitting:
            columns[role], others[role] = fitting[0], fitting[1:]
    guessed = frozenset() if {"user", "movie"} <= columns.keys() else _guess(table, columns, others)
    if "rating" in columns:  # such a column says all
        for role in ("event", "count"):
            if role in columns:
                others[role] = [columns.pop(role), *others[role]]
    return Roles(columns, {role: names for role, names in others.items() if names}, guessed)


def id_column(table: Table, of: Table, name: str, role: str) -> str | None:
    """The column of `table` that has the ids of the column `name` of the table `of`, once each; None if none has."""
    ids = set(present(of.sample.columns[name]))
    candidates = [name, *_by_name(table, role), "id", "_id", "ID", "Id", *table.sample.columns]
    for column in dict.fromkeys(each for each in candidates if each in table.sample.columns):
        values = present(table.sample.columns[column])
        if not values or len(set(values)) < 0.95 * len(values):
            continue
        shared = len(ids & set(values))
        named = column == name or column in _by_name(table, role) or column.lower().strip("_") == "id"
        # Both samples are beginnings of files, so they need not overlap; a name is enough.
        if (named and (shared or len(values) >= 1000)) or shared >= 0.5 * min(len(ids), len(values)):
            return column
    return None


def item_roles(table: Table, item_id: str) -> Roles:
    """Title and genres of a table of items."""
    columns: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for role in ("title", "genres"):
        fitting = [name for name in _by_name(table, role) if name != item_id and name not in columns.values()]
        fitting = [name for name in fitting if not are_numbers(present(table.sample.columns[name]))]
        if fitting:
            columns[role], others[role] = fitting[0], fitting[1:]
    return Roles(columns, {role: names for role, names in others.items() if names})


def _by_name(table: Table, role: str) -> list[str]:
    """The columns whose names have a word of the role, the likeliest first."""
    ranked = []
    for position, name in enumerate(table.sample.columns):
        score = _score(name, _WORDS[role])
        if score:
            ranked.append((-score, position, name))
    return [name for _, _, name in sorted(ranked)]


def _score(name: str, words: Sequence[str]) -> int:
    """How well a name says one of the words: 4 alone or with `id`, 3 as its first word, 2 as another, 1 inside."""
    parts = [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+", name)]
    if not parts:
        return 0
    bare = [part for part in parts if part not in ("id", "ids", "key", "code", "no", "nr", "number")] or parts
    joined = "".join(parts).removesuffix("id")
    if bare in [[word] for word in words] or joined in words:
        return 4
    if bare[0] in words:
        return 3
    if any(part in words for part in bare):
        return 2
    return 1 if any(len(word) > 3 and word in joined for word in words) else 0


def _guess(table: Table, columns: dict[str, str], others: dict[str, list[str]]) -> frozenset[str]:
    """Adds the roles that names do not say: times and ratings by their values, then users and items by their order."""
    guessed = set()
    for role in ("timestamp", "rating"):
        if role not in columns:
            fitting = [
                name for name in table.sample.columns if name not in columns.values() and _LOOKS[role](table, name)
            ]
            if fitting:
                columns[role] = fitting[-1]
                guessed.add(role)
    for role in ("user", "movie"):
        free = [name for name in table.sample.columns if name not in columns.values() and _may_be_id(table, name)]
        if role not in columns and free:
            columns[role], others[role] = free[0], [*others.get(role, []), *free[1:]]
            guessed.add(role)
    for role in guessed:
        others[role] = [name for name in others.get(role, []) if name not in columns.values()]
    return frozenset(guessed)


def _may_be_id(table: Table, name: str) -> bool:
    return _is_id(table, name) and not any(_score(name, _WORDS[role]) for role in ("title", "genres"))


def _values(table: Table, name: str) -> list[str]:
    return present(table.sample.columns[name])


def _is_id(table: Table, name: str) -> bool:
    """True if the values may be ids: they come back or are all different, and are no fractions and no lists."""
    values, found = _values(table, name), table.sample.types.get(name)
    if found is not None and (pa.types.is_temporal(found) or pa.types.is_nested(found) or pa.types.is_boolean(found)):
        return False
    return bool(values) and not any(
        "." in v and are_numbers([v]) and float(v) % 1 for v in values[:1000] if "," not in v
    )


def _has_times(table: Table, name: str) -> bool:
    found = table.sample.types.get(name)
    return (found is not None and pa.types.is_temporal(found)) or time_unit(_values(table, name)) is not None


def _is_event(table: Table, name: str) -> bool:
    values = _values(table, name)
    return not are_numbers(values) and len(set(values)) <= _MOST_EVENT_TYPES


_FITS: dict[str, Callable[[Table, str], bool]] = {
    "user": _is_id,
    "movie": _is_id,
    "rating": lambda table, name: are_numbers(_values(table, name)),
    "timestamp": _has_times,
    "event": _is_event,
    "count": lambda table, name: are_numbers(_values(table, name)),
}


def _few_numbers(table: Table, name: str) -> bool:
    """True for few different numbers between -10 and 100, as ratings are."""
    values = _values(table, name)
    if not are_numbers(values) or len(set(values)) > min(_MOST_RATINGS, max(2, len(values) / 3)):
        return False
    return all(-10 <= float(value.replace(",", ".")) <= 100 for value in values if value)


_LOOKS: dict[str, Callable[[Table, str], bool]] = {"timestamp": _has_times, "rating": _few_numbers}
