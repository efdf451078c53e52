"""Relations in a written configuration: likes on another scale than five stars, and facts about users."""

import re
from collections.abc import Iterator

from kgspark.inspection.findings import Findings
from kgspark.inspection.tables import Table

# The scale of the default relations: a like is a rating of 4 or more.
_DEFAULT_LIKED = 4.0
_WEIGHT_OF_FACTS = 0.1


def relation_lines(found: Findings) -> Iterator[str]:
    """The lines of the section `relations`; none if the defaults fit."""
    relations = []
    if found.scale is not None and found.scale.liked != _DEFAULT_LIKED:
        liked, rows = found.scale.liked, found.ratings.sample.rows
        weight = f"rating / {liked:g}" if liked > 1 else "1.0"
        relations += [
            f"  # a rating of {liked:g} or more is a like: {found.liked:.0%} of the first {rows:,} rows",
            f'  liked: {{where: "rating >= {liked:g}", weight: "{weight}"}}',
            f'  watched: {{where: "rating < {liked:g}"}}',
        ]
    if found.users is not None:
        table = sql_name(found.users.table)
        for name in found.users.facts:
            kind = _kind(name)
            head = f"{{kind: user, column: {_sql_column(found.users.id)}}}"
            tail = f"{{kind: {kind}, column: {_sql_column(name)}}}"
            relations.append(
                f"  has_{kind}: {{table: {table}, head: {head}, tail: {tail}, weight: {_WEIGHT_OF_FACTS}}}"
            )
    if relations:
        yield "relations:"
        yield from relations


def sql_name(table: Table) -> str:
    """A name for the table of users that no table of kgspark has."""
    name = re.sub(r"\W", "_", table.path.name.split(".")[0]).strip("_").lower() or "people"
    return (
        name
        if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in ("users", "movies", "ratings", "tags")
        else f"own_{name}"
    )


def _sql_column(name: str) -> str:
    quoted = f"`{name}`"
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f'"{quoted}"'


def _kind(name: str) -> str:
    kind = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
    kind = kind if kind[:1].isalpha() else f"fact_{kind}"
    return f"user_{kind}" if kind in ("user", "movie", "genre", "year", "tag") else kind
