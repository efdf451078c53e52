"""Accounts of cleaning: of each table what came in, what was kept, and where every other line is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from kgspark.errors import InputError
from kgspark.files import DataFile
from kgspark.spark.cleaning.ratings import (
    BLOCK_SCHEMA,
    QUARANTINE_SCHEMA,
    Accounts,
    count_blocks,
    quarantined,
    superseded_count,
)
from kgspark.spark.frames import DataFrame, rows_frame, write_empty, write_table
from kgspark.tables import MOVIES, RATINGS, USERS

# One row a key is kept; tags have none.
_KEYS = {RATINGS: ("user_id", "movie_id"), MOVIES: ("movie_id",), USERS: ("user_id",)}


@dataclass(frozen=True)
class Written:
    """A table as it was written, and what it was written from.

    raw      one row a line of the input, nothing taken apart
    lines    the same lines with their `reason`, as `quarantined` reads them
    headers  how many of the lines are headers
    """

    files: list[DataFile]
    raw: DataFrame
    lines: DataFrame
    headers: int

    @property
    def kept(self) -> int:
        """Rows of the table."""
        return sum(file.rows or 0 for file in self.files)


@dataclass(frozen=True)
class Counted:
    """What came in for a table, and its lines for quarantine (None: there are none)."""

    lines: int
    headers: int
    kept: int
    superseded: int = 0
    rejected: DataFrame | None = None

    def accounts(self, quarantined: Mapping[str, int]) -> Accounts:
        """With the lines that the quarantine table has of this table, by reason."""
        return Accounts(self.lines, self.headers, self.kept, self.superseded, quarantined)


def counted(name: str, table: Written, count: int) -> Counted:
    """Accounts for the lines of a table.

    Every kept row stands for a line or more. So where there are as many rows as lines, none was bad or superseded, and
    only where there are fewer is the input read again to find which.
    """
    if count - table.headers == table.kept:
        return Counted(count, table.headers, table.kept)
    blocks = count_blocks(table.lines).collect()
    splits = rows_frame(table.lines.sparkSession, [row[:4] for row in blocks], BLOCK_SCHEMA)
    return Counted(
        lines=sum(row["lines"] for row in blocks),
        headers=sum(row["headers"] for row in blocks),
        kept=table.kept,
        superseded=superseded_count(table.lines, _KEYS[name]) if name in _KEYS else 0,
        rejected=quarantined(table.lines, splits, name) if any(row["bad"] for row in blocks) else None,
    )


def write_quarantine(rejected: list[DataFrame], folder: Path) -> list[DataFile]:
    """The quarantine table, in one file, of the lines of every table that were refused."""
    if not rejected:
        return write_empty(QUARANTINE_SCHEMA, folder)
    rows = reduce(DataFrame.unionByName, rejected)
    return write_table(rows.repartition(1).sortWithinPartitions("table", "file", "line"), folder)


def reasons(quarantine: DataFrame) -> dict[str, dict[str, int]]:
    """Quarantined lines by table and reason."""
    found: dict[str, dict[str, int]] = {}
    for row in quarantine.groupBy("table", "reason").count().orderBy("table", "reason").collect():
        found.setdefault(row["table"], {})[row["reason"]] = row["count"]
    return found


def stop_if_too_bad(path: Path, accounts: Accounts, limit: float, kept_at: Path) -> None:
    """InputError where more than the share `limit` of a file's lines is in quarantine."""
    if accounts.quarantined_share > limit:
        why = told(accounts.quarantined)
        raise InputError(
            f"{path}: {accounts.quarantined_share:.2%} of the lines are bad, and "
            f"clean.max_quarantined_share allows {limit:.2%}: {why}; they are listed in {kept_at}"
        )


def told(reasons: Mapping[str, int]) -> str:
    """Reasons with their counts, for a person."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "nothing quarantined"


def summary(accounts: Mapping[str, Accounts]) -> str:
    """The exact sum of the ratings: lines = kept + superseded + quarantined (+ headers); of others what was refused."""
    ratings = accounts[RATINGS]
    bad = sum(ratings.quarantined.values())
    text = f"{ratings.lines:,} lines = {ratings.kept:,} kept + {ratings.superseded:,} superseded + {bad:,} quarantined"
    if ratings.headers:
        text += f" + {ratings.headers:,} header"
    if bad:
        text += f" ({told(ratings.quarantined)})"
    for name, counts in accounts.items():
        if name != RATINGS and counts.quarantined:
            text += f"; quarantined of {name}: {told(counts.quarantined)}"
    return text
