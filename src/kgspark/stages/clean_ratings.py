"""clean-ratings: source files to the tables ratings, movies, users, tags and quarantine."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from kgspark.errors import InputError
from kgspark.files import DataFile, source_signature
from kgspark.runs import StageWork
from kgspark.spark import catalogue
from kgspark.spark.dialects import Scale, Source, find_source
from kgspark.spark.frames import DataFrame, read_table, rows_frame, write_empty, write_table
from kgspark.spark.ratings import (
    BLOCK_SCHEMA,
    QUARANTINE_SCHEMA,
    Accounts,
    Rules,
    checked,
    count_blocks,
    has_integer_ids,
    header_count,
    latest,
    line_counts,
    quarantined,
    read_raw,
    resolve_scale,
    superseded_count,
)
from kgspark.stages.night import Night, Outcome
from kgspark.tables import MOVIES, QUARANTINE, RATINGS, TAGS, USERS

# One row a key is kept; tags have none.
_KEYS = {RATINGS: ("user_id", "movie_id"), MOVIES: ("movie_id",), USERS: ("user_id",)}


def run(night: Night) -> Outcome:
    """Cleans the source unless its files and rules are as they were."""
    settings = night.settings
    source = find_source(settings.source)
    side_tables = [name for name in (MOVIES, USERS, TAGS) if name in source.paths]
    work = StageWork.plan(
        night.run,
        "clean-ratings",
        writes=(RATINGS, QUARANTINE, *side_tables),
        settings={
            "source": settings.source.model_dump(exclude={"tables", "path"}),
            "clean": settings.clean.model_dump(),
        },
        sources=_signatures(source),
    )
    return night.stage(work, lambda work: _clean(night, source, work), lambda: _summary(night))


def _signatures(source: Source) -> dict[str, str]:
    return {name: source_signature([path]) for name, path in source.paths.items()}


@dataclass(frozen=True)
class _Written:
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
        return sum(file.rows or 0 for file in self.files)


@dataclass(frozen=True)
class _Counted:
    """What came in for a table, and its lines for quarantine (None: there are none)."""

    lines: int
    headers: int
    kept: int
    superseded: int = 0
    rejected: DataFrame | None = None

    def accounts(self, quarantined: Mapping[str, int]) -> Accounts:
        return Accounts(self.lines, self.headers, self.kept, self.superseded, quarantined)


def _clean(night: Night, source: Source, work: StageWork) -> str:
    id_type = "bigint" if has_integer_ids(night.spark, source, night.settings.source.columns) else "string"
    scale = resolve_scale(night.settings.clean, source.scale)
    folders = work.begin()
    written = _write_tables(night, source, id_type, scale, folders)
    lines = line_counts({name: table.raw for name, table in written.items()})
    cleaned = {name: _counted(name, table, lines[name]) for name, table in written.items()}
    files = {name: table.files for name, table in written.items()}
    rejected = [table.rejected for table in cleaned.values() if table.rejected is not None]
    files[QUARANTINE] = _write_quarantine(rejected, folders[QUARANTINE])

    reasons = _reasons(read_table(night.spark, folders[QUARANTINE])) if rejected else {}
    accounts = {name: table.accounts(reasons.get(name, {})) for name, table in cleaned.items()}
    if _signatures(source) != work.inputs:
        raise InputError(f"{night.settings.source.path}: the source changed while it was read; run clean-ratings again")
    for name, counts in accounts.items():
        counts.check(name)
    _stop_if_too_bad(night, source, accounts[RATINGS], str(folders[QUARANTINE]))
    if not accounts[RATINGS].kept:
        told = _told(accounts[RATINGS].quarantined)
        raise InputError(f"{source.paths[RATINGS]}: no rating is left after cleaning: {told}")
    details: dict[str, Any] = {
        "format": source.format,
        "id_type": id_type,
        "scale": asdict(scale),
        "tables": sorted(files),
        "accounts": {name: asdict(counts) for name, counts in accounts.items()},
    }
    work.commit(files, {RATINGS: details})
    return _summary(night)


def _rules(night: Night, id_type: str, scale: Scale) -> Rules:
    clean = night.settings.clean
    return Rules(id_type == "bigint", scale, clean.timestamp_min, clean.timestamp_max, clean.unknown_movies)


def _write_tables(
    night: Night, source: Source, id_type: str, scale: Scale, folders: Mapping[str, Path]
) -> dict[str, _Written]:
    """Ratings need the movies; users and tags are cleaned beside them, so that no core waits for a plan."""
    with ThreadPoolExecutor(len(folders)) as pool:
        beside = {
            name: pool.submit(_write_beside, night, source, name, id_type, folders[name])
            for name in (MOVIES, USERS, TAGS)
            if name in folders
        }
        if MOVIES in beside:
            beside[MOVIES].result()
        movies = read_table(night.spark, folders[MOVIES]) if MOVIES in beside else None
        ratings = _write_ratings(night, source, _rules(night, id_type, scale), movies, folders[RATINGS])
        return {RATINGS: ratings} | {name: future.result() for name, future in beside.items()}


def _write_ratings(night: Night, source: Source, rules: Rules, movies: DataFrame | None, folder: Path) -> _Written:
    path, layout = source.paths[RATINGS], source.layouts[RATINGS]
    raw = read_raw(night.spark, path, layout, night.settings.source.columns)
    lines = checked(raw, rules, movies)
    return _Written(write_table(latest(lines, rules.scale), folder), raw, lines, header_count(path, layout))


def _write_beside(night: Night, source: Source, name: str, id_type: str, folder: Path) -> _Written:
    """Cleans a table beside the ratings."""
    session, path, layout = night.spark, source.paths[name], source.layouts[name]
    required = {
        MOVIES: {"movie_id": id_type},
        USERS: {"user_id": id_type},
        TAGS: {"user_id": id_type, "movie_id": id_type, "tag": "string"},
    }[name]
    if layout is None:
        lines = catalogue.read_parquet_movies(session, path, night.settings.source.columns, id_type)
    else:
        lines = catalogue.read_table(session, path, layout, required)
    make = {MOVIES: catalogue.movies_table, USERS: catalogue.users_table, TAGS: catalogue.tags_table}[name]
    files = write_table(make(catalogue.good_rows(lines)), folder)
    return _Written(files, lines, lines, header_count(path, layout))


def _counted(name: str, table: _Written, count: int) -> _Counted:
    """Accounts for the lines of a table.

    Every kept row stands for a line or more. So where there are as many rows as lines, none was bad or superseded, and
    only where there are fewer is the input read again to find which.
    """
    if count - table.headers == table.kept:
        return _Counted(count, table.headers, table.kept)
    blocks = count_blocks(table.lines).collect()
    splits = rows_frame(table.lines.sparkSession, [row[:4] for row in blocks], BLOCK_SCHEMA)
    return _Counted(
        lines=sum(row["lines"] for row in blocks),
        headers=sum(row["headers"] for row in blocks),
        kept=table.kept,
        superseded=superseded_count(table.lines, _KEYS[name]) if name in _KEYS else 0,
        rejected=quarantined(table.lines, splits, name) if any(row["bad"] for row in blocks) else None,
    )


def _write_quarantine(rejected: list[DataFrame], folder: Path) -> list[DataFile]:
    if not rejected:
        return write_empty(QUARANTINE_SCHEMA, folder)
    rows = reduce(DataFrame.unionByName, rejected)
    return write_table(rows.repartition(1).sortWithinPartitions("table", "file", "line"), folder)


def _reasons(quarantine: DataFrame) -> dict[str, dict[str, int]]:
    """Quarantined lines by table and reason."""
    found: dict[str, dict[str, int]] = {}
    for row in quarantine.groupBy("table", "reason").count().orderBy("table", "reason").collect():
        found.setdefault(row["table"], {})[row["reason"]] = row["count"]
    return found


def _stop_if_too_bad(night: Night, source: Source, accounts: Accounts, kept_at: str) -> None:
    limit = night.settings.clean.max_quarantined_share
    if accounts.quarantined_share > limit:
        told = _told(accounts.quarantined)
        raise InputError(
            f"{source.paths[RATINGS]}: {accounts.quarantined_share:.2%} of the lines are bad, and "
            f"clean.max_quarantined_share allows {limit:.2%}: {told}; they are listed in {kept_at}"
        )


def _told(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "nothing quarantined"


def _summary(night: Night) -> str:
    """The exact sum: lines = kept + superseded + quarantined (+ headers)."""
    details = night.run.manifest(RATINGS).details
    others = {name: Accounts(**counts) for name, counts in details["accounts"].items()}
    accounts = others.pop(RATINGS)
    bad = sum(accounts.quarantined.values())
    text = (
        f"{accounts.lines:,} lines = {accounts.kept:,} kept + {accounts.superseded:,} superseded + {bad:,} quarantined"
    )
    if accounts.headers:
        text += f" + {accounts.headers:,} header"
    if bad:
        text += f" ({_told(accounts.quarantined)})"
    for name, counts in others.items():
        if counts.quarantined:
            text += f"; quarantined of {name}: {_told(counts.quarantined)}"
    return text
