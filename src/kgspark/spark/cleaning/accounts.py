"""Accounts of cleaning: the number of lines of each table that were kept, superseded, left out and quarantined."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.files import TableFiles
from kgspark.spark.cleaning.quarantine import count_by_reason, refused_lines, write_quarantine
from kgspark.spark.cleaning.rating_rules import LEFT_OUT, is_refused
from kgspark.spark.cleaning.source.file_accounts import SourceFile
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.frames import read_table
from kgspark.tables import KEYS, RATINGS

# With fewer bad lines, new files alone do not stop a night: a bad line of a small file is a large share.
LEAST_BAD = 100


@dataclass(frozen=True)
class Accounts:
    """Numbers of lines: lines = headers + kept + superseded + left_out + quarantined, or `check` raises an error.

    Each number has its own count: lines by the bytes of the files, headers where they stand, kept and quarantined in
    the written tables, superseded by pairs, those left out by their reasons.

    superseded  lines whose user and movie have another line that counts, or that are summed up in one row with others
    left_out    good lines that are no part of this night
    """

    lines: int
    headers: int
    kept: int
    superseded: int
    quarantined: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def check(self, table: str) -> None:
        """Raises InputError, with the table's name, unless the counts add up."""
        total = self.headers + self.kept + self.superseded + sum(self.left_out.values()) + self.bad
        if total != self.lines:
            raise InputError(
                f"{table}: {self.lines:,} lines were read but {total:,} are accounted for; the source changed while it "
                "was read, or this is a defect to report"
            )

    @property
    def bad(self) -> int:
        """Number of quarantined lines."""
        return sum(self.quarantined.values())

    @property
    def quarantined_share(self) -> float:
        """Fraction of the data lines of this night that are quarantined."""
        return self.bad / max(1, self.lines - self.headers - sum(self.left_out.values()))

    def since(self, earlier: "Accounts") -> "Accounts":
        """What was added to the accounts of an earlier night."""
        return Accounts(
            self.lines - earlier.lines,
            self.headers - earlier.headers,
            self.kept - earlier.kept,
            self.superseded - earlier.superseded,
            _more(self.quarantined, earlier.quarantined),
            _more(self.left_out, earlier.left_out),
        )


NOTHING = Accounts(0, 0, 0, 0, {})


def _more(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """By how much each count has grown, if it has."""
    grown = {reason: count - before.get(reason, 0) for reason, count in now.items()}
    return {reason: count for reason, count in grown.items() if count}


@dataclass(frozen=True)
class Earlier:
    """A clean table of an earlier night, whose files have not changed since.

    rows      the table itself, in `folder` with these `files`
    read      accounts of the files that it was made from
    refused   its rows in the quarantine table
    """

    folder: Path
    files: TableFiles
    rows: DataFrame
    accounts: Accounts
    read: Sequence[SourceFile]
    refused: DataFrame


@dataclass(frozen=True)
class WrittenTable:
    """A written clean table, and what it was made from: lines, and the rows of an earlier night.

    checked  one row per line of the input, with `header`, the table's key and the `reason` to refuse it (null: good);
             None if all files are those of `earlier`
    source   the files of the input, without those of `earlier`
    read     their accounts
    """

    files: TableFiles
    checked: DataFrame | None
    source: SourceFiles
    read: Sequence[SourceFile]
    earlier: Earlier | None = None

    @property
    def earlier_accounts(self) -> Accounts:
        """The accounts of the files that the earlier night read."""
        return self.earlier.accounts if self.earlier else NOTHING

    @property
    def all_read(self) -> list[SourceFile]:
        """The accounts of all files of the table, in the order of their names."""
        read = [*(self.earlier.read if self.earlier else ()), *self.read]
        return sorted(read, key=lambda file: Path(file.name))

    @property
    def kept(self) -> int:
        """Number of rows of the table."""
        return self.files.rows


def count_and_quarantine(
    session: SparkSession, tables: Mapping[str, WrittenTable], folder: Path
) -> tuple[dict[str, Accounts], TableFiles]:
    """Accounts for every line of every table. Writes the refused lines to the new `folder` and returns its files."""
    counted = {name: _count_table(name, table) for name, table in tables.items()}
    refused = [rows for _, found in counted.values() for rows in found]
    files = write_quarantine(refused, folder)
    quarantined = count_by_reason(read_table(session, folder)) if refused else {}
    return {n: replace(accounts, quarantined=quarantined.get(n, {})) for n, (accounts, _) in counted.items()}, files


def _count_table(name: str, table: WrittenTable) -> tuple[Accounts, list[DataFrame]]:
    """A table's accounts, still without its quarantine, and its rows for the quarantine.

    Every row comes from one line or more. So if a table has as many rows as lines, besides those of the earlier night,
    none was refused or superseded. If it has fewer, Spark reads the input again to find these lines.
    """
    before = table.earlier_accounts
    refused = [table.earlier.refused] if table.earlier and before.quarantined else []
    lines, headers = sum(file.lines for file in table.read), sum(file.headers for file in table.read)
    superseded, left_out = 0, Counter(before.left_out)
    if table.checked is not None and lines - headers != table.kept - before.kept:
        blocks = collect_blocks(table.checked)
        headers = sum(block["headers"] for block in blocks)
        superseded = count_superseded(table.checked, table.earlier, KEYS[name]) if name in KEYS else 0
        left_out.update({reason: sum(block[reason] for block in blocks) for reason in LEFT_OUT})
        if any(block["bad"] for block in blocks):
            refused.append(refused_lines(table.checked, blocks, name, table.source.root))
    return Accounts(
        lines + before.lines,
        headers + before.headers,
        table.kept,
        superseded + before.superseded,
        quarantined={},
        left_out={reason: count for reason, count in left_out.items() if count},
    ), refused


def collect_blocks(checked: DataFrame) -> list[Row]:
    """One row per input split: file, block, lines, first_row, headers, and numbers of lines: bad, and each left out."""
    blocks = checked.groupBy("file", "block").agg(
        F.count(F.lit(1)).alias("lines"),
        F.min("row").alias("first_row"),
        F.count_if("header").alias("headers"),
        F.count_if(is_refused()).alias("bad"),
        *[F.count_if(~F.col("header") & (F.col("reason") == reason)).alias(reason) for reason in LEFT_OUT],
    )
    return blocks.collect()


def count_superseded(checked: DataFrame, earlier: Earlier | None, key: tuple[str, ...]) -> int:
    """Number of good lines, and of rows of the earlier night, that another one with the same key replaces."""
    good = checked.where(~F.col("header") & F.col("reason").isNull()).select(*key)
    if earlier is not None:
        good = good.unionByName(earlier.rows.select(*key))
    repeated = good.groupBy(*key).count().agg(F.sum(F.col("count") - 1))
    return repeated.collect()[0][0] or 0


def check_ratings(
    path: str, ratings: Accounts, new: Accounts, limit: float, quarantine: Path, explain: Callable[[], str]
) -> None:
    """InputError if a larger fraction than `limit` of the ratings at `path` is quarantined, or if none was kept.

    new      accounts of the files that the earlier night has not read; `LEAST_BAD` of their lines must be bad to stop
    explain  gives a text for the message, if it is needed; it may be empty
    """
    for name, counts, least in (("lines", ratings, 0), ("new lines", new, LEAST_BAD)):
        if counts.quarantined_share > limit and counts.bad >= least:
            raise InputError(
                f"{path}: {counts.quarantined_share:.2%} of the {name} are bad, and clean.max_quarantined_share allows "
                f"{limit:.2%}: {_explained(counts, explain)}; they are listed in {quarantine}"
            )
    if not ratings.kept:
        left_out = f"{format_reasons(ratings.left_out)} are left out, and " if ratings.left_out else ""
        raise InputError(f"{path}: no rating is left after cleaning: {left_out}{_explained(ratings, explain)}")


def _explained(counts: Accounts, explain: Callable[[], str]) -> str:
    return "; ".join(filter(None, (format_reasons(counts.quarantined), explain())))


def format_accounts(accounts: Mapping[str, Accounts]) -> str:
    """The complete account of the ratings, and the refused lines of the other tables."""
    ratings = accounts[RATINGS]
    text = f"{ratings.lines:,} lines = {ratings.kept:,} kept + {ratings.superseded:,} superseded"
    text += "".join(f" + {count:,} {reason}" for reason, count in ratings.left_out.items())
    text += f" + {ratings.bad:,} quarantined"
    if ratings.headers:
        text += f" + {ratings.headers:,} header"
    if ratings.bad:
        text += f" ({format_reasons(ratings.quarantined)})"
    for name, counts in accounts.items():
        if name != RATINGS and counts.quarantined:
            text += f"; quarantined of {name}: {format_reasons(counts.quarantined)}"
    return text


def format_reasons(counts: Mapping[str, int]) -> str:
    """Reasons with their counts, as text to print."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "nothing quarantined"
