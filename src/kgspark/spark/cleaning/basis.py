"""The basis of tonight's clean tables: those of an earlier night, to which only the lines of new files are added.

An earlier night is a basis if its source files are still there, unchanged, and if the same software cleaned them with
the same settings and rules. Then the tables have the same rows as if every file were read again, because each clean
table is the maximum, the sum or the union of what its lines say, and no rule reads more than one line and the movie
table. A night that left out lines because they were after it is no basis: they may be a part of tonight.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.errors import StageError
from kgspark.files import TableFiles
from kgspark.manifests import Manifest, versions
from kgspark.runs import Run, first_difference
from kgspark.spark.cleaning.accounts import Accounts, Earlier
from kgspark.spark.cleaning.rating_rules import AFTER_RUN_DATE, UNKNOWN_MOVIE, Limits
from kgspark.spark.cleaning.source.dialects import Source
from kgspark.spark.cleaning.source.file_accounts import SourceFile, find_changed_file, find_other_state
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.frames import read_table
from kgspark.tables import MOVIES, QUARANTINE, RATINGS, REFUSED_PAIRS, Columns

# Limits that stop a night. No row depends on them.
_WITHOUT_EFFECT = {"max_quarantined_share", "min_share_of_last_night"}


@dataclass(frozen=True)
class Basis:
    """The tables of an earlier night that tonight's are made from.

    date    of the night; empty if there is none
    tables  by name; a table that is not among them is cleaned as a whole
    movies  the night's movie table; None if it has none
    pairs   the night's table `refused_pairs`
    unfit   why the ratings are not among the tables although there is an earlier night; else empty
    """

    date: str = ""
    tables: Mapping[str, Earlier] = field(default_factory=dict)
    movies: DataFrame | None = None
    pairs: DataFrame | None = None
    unfit: str = ""

    @property
    def ratings(self) -> Earlier | None:
        """The ratings, unless they are cleaned as a whole."""
        return self.tables.get(RATINGS)


@dataclass(frozen=True)
class EarlierNight:
    """A night that may be the basis; `ratings` is the manifest of its ratings."""

    run: Run
    ratings: Manifest

    @property
    def accounts(self) -> dict[str, Accounts]:
        """The accounts of each table."""
        return {name: Accounts(**counts) for name, counts in self.ratings.details["accounts"].items()}

    @property
    def read(self) -> dict[str, list[SourceFile]]:
        """The files of each table, as the night read them."""
        found = self.ratings.details["source_files"].items()
        return {name: [SourceFile(**file) for file in files] for name, files in found}

    @property
    def cut(self) -> set[str]:
        """The tables of which the night left out lines, because they were after it."""
        return {name for name, counts in self.accounts.items() if AFTER_RUN_DATE in counts.left_out}

    def unread(self, tables: Mapping[str, SourceFiles]) -> dict[str, set[str]]:
        """By table, the names of files in object stores that need not be fetched if this night is the basis."""
        read = self.read
        return {
            name: {file.name for file in read[name]}
            for name in tables.keys() & read.keys() - self.cut
            if tables[name].fetched is not None and not find_other_state(tables[name], read[name])
            if name == RATINGS or len(read[name]) == len(tables[name].files)
        }


@contextmanager
def open_earlier(run: Run) -> Iterator[EarlierNight | None]:
    """The newest night before `run` that is complete, undamaged, and not being worked on; None if there is none.

    That night is locked in this context, so that no other process removes it or works on it.
    """
    for night in run.earlier():
        ratings = night.find_manifest(RATINGS)
        if ratings is None:
            continue
        with ExitStack() as stack:
            if _lock(night, stack) and _is_whole(night, ratings):
                yield EarlierNight(night, ratings)
                return
    yield None


def with_movies(basis: Basis, movies: DataFrame | None, limits: Limits) -> Basis:
    """The basis without its ratings if tonight's movies change what the rule `unknown_movie` decided about them.

    A movie that has left the table makes ratings bad, and a new one may make refused ratings good. Runs a Spark job if
    the files of the movies have changed.
    """
    ratings, before = basis.ratings, basis.movies
    if ratings is None or movies is None or before is None or MOVIES in basis.tables:
        return basis
    if limits.unknown_movies == "keep":
        return basis
    gone, new = _count_changes(before, movies)
    unknown = ratings.accounts.quarantined.get(UNKNOWN_MOVIE, 0)
    if gone:
        unfit = f"{gone:,} {{movies}} of {basis.date} are no longer in the {{movie}} table"
    elif new and unknown:
        unfit = f"{new:,} {{movies}} are new, and {unknown:,} ratings of {basis.date} were refused for their {{movie}}"
    else:
        return basis
    others = {name: table for name, table in basis.tables.items() if name != RATINGS}
    return replace(basis, tables=others, pairs=None, unfit=unfit)


def _lock(night: Run, stack: ExitStack) -> bool:
    """Locks the night until `stack` is closed; False if another process works on it, or if it cannot be locked."""
    try:
        stack.enter_context(night.locked())
    except StageError:
        return False
    return True


def _is_whole(night: Run, ratings: Manifest) -> bool:
    """True if all tables of the night's cleaning are there, undamaged, and of one run of the stage.

    Their checksums are compared also if `verify` is `fast`: every later night would inherit a changed value.
    """
    found = [night.find_manifest(name) for name in ratings.details.get("tables", ())]
    whole = [manifest for manifest in found if manifest is not None and manifest.fingerprint == ratings.fingerprint]
    damaged = any(map(replace(night, verify="full").find_damage, whole))
    return bool(found) and len(whole) == len(found) and not damaged


def basis_of(
    session: SparkSession,
    earlier: EarlierNight | None,
    source: Source,
    settings: Mapping[str, Any],
    reading: Mapping[str, Any],
) -> Basis:
    """The basis that an earlier night is for tonight.

    settings, reading  of tonight's cleaning, as a manifest gives them back; `reading` is in the details of the ratings
    """
    if earlier is None:
        return Basis()
    night, read, accounts, later = earlier.run, earlier.read, earlier.accounts, earlier.cut
    unfit = _first_change(night.date, earlier.ratings, settings, reading)
    if unfit:
        return Basis(night.date, unfit=unfit)
    if RATINGS in later:
        count = accounts[RATINGS].left_out[AFTER_RUN_DATE]
        return Basis(night.date, unfit=f"{count:,} lines that {night.date} has read were after it")
    checksums = night.verify == "full"
    changed = find_changed_file(session, source.files[RATINGS], read[RATINGS], checksums)
    if changed:
        return Basis(night.date, unfit=f"{changed} since {night.date}")
    same = [RATINGS]
    for name in read.keys() & source.files.keys() - {RATINGS} - later:
        files = source.files[name]
        if len(files.files) == len(read[name]) and not find_changed_file(session, files, read[name], checksums):
            same.append(name)
    return Basis(
        night.date,
        {name: _earlier(session, night, name, accounts[name], read[name]) for name in same},
        read_table(session, night.place(MOVIES)) if MOVIES in read else None,
        read_table(session, night.place(REFUSED_PAIRS)),
    )


def _first_change(date: str, ratings: Manifest, settings: Mapping[str, Any], reading: Mapping[str, Any]) -> str:
    """What differs between the cleaning of the earlier night and tonight's, besides the files; empty if nothing."""
    key = first_difference(ratings.versions, versions())
    if key is not None:
        return f"another version of {key} cleaned those of {date}"
    key = first_difference(_that_change_rows(ratings.settings), _that_change_rows(settings))
    if key is not None:
        return f"{key} has another value than on {date}"
    key = first_difference(ratings.details.get("reading", {}), reading)
    return "" if key is None else f"the files are not read as on {date} ({key})"


def _that_change_rows(settings: Mapping[str, Any]) -> dict[str, Any]:
    rules = {key: value for key, value in settings["clean"].items() if key not in _WITHOUT_EFFECT}
    return {**settings, "clean": rules}


def _earlier(session: SparkSession, night: Run, name: str, accounts: Accounts, read: Sequence[SourceFile]) -> Earlier:
    folder, manifest = night.place(name), night.manifest(name)
    quarantine = read_table(session, night.place(QUARANTINE))
    return Earlier(
        folder,
        TableFiles(manifest.files, manifest.content),
        read_table(session, folder),
        accounts,
        read,
        quarantine.where(F.col("table") == name),
    )


def _count_changes(before: DataFrame, now: DataFrame) -> tuple[int, int]:
    """Number of movies that are only in the table `before`, and of those that are only in the table `now`."""
    sides = [table.select(Columns.MOVIE_ID, F.lit(True).alias(side)) for side, table in (("old", before), ("new", now))]
    joined = sides[0].join(sides[1], on=Columns.MOVIE_ID, how="full_outer")
    gone, new = joined.agg(F.count_if(F.col("new").isNull()), F.count_if(F.col("old").isNull())).collect()[0]
    return gone, new
