"""What a look at tables finds: the ratings with their ids, scale and times, the items, the users."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from kgspark.errors import InputError
from kgspark.inspection.roles import Roles, id_column, item_roles, roles_of_ratings
from kgspark.inspection.tables import Table
from kgspark.inspection.values import (
    Scale,
    are_integers,
    are_numbers,
    decimal_comma,
    find_scale,
    genre_separator,
    numbers,
    present,
    time_unit,
)
from kgspark.spark.cleaning.settings import NULL_TEXTS

# Words in the types of events, and the value of such an event. The first that fits counts.
_EVENT_VALUES = {
    0.0: ("remove", "return", "cancel", "dislike", "refund", "unlike", "abandon", "skip"),
    5.0: ("buy", "purchase", "transaction", "order", "conversion", "checkout", "subscribe", "like", "complete"),
    3.0: ("cart", "basket", "fav", "wish", "save", "add", "share", "collect", "watch"),
}
_OTHER_EVENT = 1.0
# A column of a user table becomes a relation if it has few values, which come back.
_MOST_FACTS = 60


@dataclass(frozen=True)
class Items:
    """A table of items: its column of ids, title and genres; `genres` separates several of them, None if not needed."""

    table: Table
    id: str
    roles: Roles
    genres: str | None


@dataclass(frozen=True)
class Users:
    """A table of users: its column of ids, and columns of few values, which are facts."""

    table: Table
    id: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """The ratings, and what belongs to them.

    roles    of the columns of `ratings`
    ids      integer or string
    example  an id that is no integer; empty if all are
    scale    of ratings; None for events
    usual    False if the scale is only the range of the ratings that were looked at
    liked    share of the ratings that were looked at that are likes
    unit     of the times; None for none; `typed` for the types of Parquet; `other` for dates that cleaning cannot read
    events   each type of event with a value
    unused   tables that are none of these
    """

    ratings: Table
    roles: Roles
    ids: str
    example: str
    scale: Scale | None
    usual: bool
    liked: float
    unit: str | None
    decimal: str
    events: Mapping[str, float] = field(default_factory=dict)
    items: Items | None = None
    users: Users | None = None
    unused: Sequence[Table] = ()

    def values(self, role: str) -> list[str]:
        """The values of a column of the ratings, without missing ones."""
        return present(self.ratings.sample.columns[self.roles.columns[role]], NULL_TEXTS)


def look_at(path: str, tables: Sequence[Table]) -> Findings:
    """What the tables have; InputError if none has a column of users and one of items."""
    ratings, roles = _ratings(path, tables)
    others = [table for table in tables if table is not ratings]
    items = _items(ratings, roles, others)
    users = _users(ratings, roles, [table for table in others if items is None or table is not items.table])
    used = [ratings, *(each.table for each in (items, users) if each is not None)]
    found = Findings(ratings, roles, *_ids(ratings, roles), None, True, 0.0, None, ".", items=items, users=users)
    scale, usual = find_scale(numbers(found.values("rating"))) if "rating" in roles.columns else (None, True)
    liked = [value >= scale.liked for value in numbers(found.values("rating"))] if scale is not None else []
    return Findings(
        ratings,
        roles,
        found.ids,
        found.example,
        scale,
        usual,
        sum(liked) / max(1, len(liked)),
        _unit(found),
        "," if any(decimal_comma(found.values(role)) for role in ("rating", "count") if role in roles.columns) else ".",
        _events(found.values("event")) if "event" in roles.columns else {},
        items,
        users,
        [table for table in others if all(table is not each for each in used)],
    )


def _ratings(path: str, tables: Sequence[Table]) -> tuple[Table, Roles]:
    """The table with the most roles of ratings; of equal ones the largest."""
    best: tuple[Table, Roles] | None = None
    for table in tables:
        roles = roles_of_ratings(table)
        if {"user", "movie"} <= roles.columns.keys() and (best is None or _rank(roles) > _rank(best[1])):
            best = table, roles
    if best is None:
        seen = "; ".join(f"{table.path.name} has {', '.join(table.sample.columns)}"[:200] for table in tables)
        raise InputError(
            f"{path}: no table has a column of users and one of items ({seen or 'no table is there'}); "
            "rename the columns to user_id and item_id, or write the configuration by hand: docs/own-data.md"
        )
    return best


def _rank(roles: Roles) -> tuple[int, int]:
    named = [role for role in ("user", "movie") if role not in roles.guessed]
    return len(named), len(roles.columns)


def _ids(ratings: Table, roles: Roles) -> tuple[str, str]:
    columns, types = [roles.columns[role] for role in ("user", "movie")], ratings.sample.types
    for column in columns:
        if column in types and not (pa.types.is_integer(types[column]) or pa.types.is_floating(types[column])):
            return "string", next(iter(present(ratings.sample.columns[column])), "")
        values = present(ratings.sample.columns[column], NULL_TEXTS)
        if not are_integers(values):
            return "string", next(value for value in values if not are_integers([value]))
    return "integer", ""


def _unit(found: Findings) -> str | None:
    if "timestamp" not in found.roles.columns:
        return None
    of_parquet = found.ratings.sample.types.get(found.roles.columns["timestamp"])
    if of_parquet is not None and pa.types.is_temporal(of_parquet):
        return "typed"
    return time_unit(found.values("timestamp"))


def _events(types: Sequence[str]) -> dict[str, float]:
    return {name: _event_value(name.lower()) for name, _ in Counter(types).most_common()}


def _event_value(name: str) -> float:
    words = ((value, word) for value, some in _EVENT_VALUES.items() for word in some)
    return next((value for value, word in words if word in name), _OTHER_EVENT)


def _items(ratings: Table, roles: Roles, tables: Sequence[Table]) -> Items | None:
    """The table with the ids of the ratings' items, and a title or genres; cleaning needs a header in CSV."""
    for table in tables:
        if table.sample.kind == "csv" and not table.sample.header:
            continue
        found = id_column(table, ratings, roles.columns["movie"], "movie")
        of_items = item_roles(table, found) if found else Roles({})
        if found and of_items.columns:
            genres = of_items.columns.get("genres")
            return Items(
                table, found, of_items, genre_separator(present(table.sample.columns[genres])) if genres else None
            )
    return None


def _users(ratings: Table, roles: Roles, tables: Sequence[Table]) -> Users | None:
    for table in tables:
        if table.sample.kind == "json" or (table.sample.kind == "csv" and not table.sample.header):
            continue
        found = id_column(table, ratings, roles.columns["user"], "user")
        if found:
            facts = [name for name in table.sample.columns if name != found and _is_fact(table, name)]
            return Users(table, found, tuple(facts))
    return None


def _is_fact(table: Table, name: str) -> bool:
    values = present(table.sample.columns[name], NULL_TEXTS)
    if not values or (are_numbers(values) and any(value % 1 for value in numbers(values))):
        return False
    return 2 <= len(set(values)) <= min(_MOST_FACTS, len(values) / 2)
